"""What a run leaves behind and shows: its directory, the live view, the summary, the denoising trace."""
