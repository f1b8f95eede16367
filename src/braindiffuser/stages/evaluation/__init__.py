"""Work of the stage `evaluate` other than scoring each kind of pictures: scorers, targets nearest to the pictures, flags."""
