"""The whole photo and the whole folder: detect, align, restore, paste, write."""
