"""The simulated subject: composed scenes, a brain whose truth is known, and the files, written as NSD writes its own."""
