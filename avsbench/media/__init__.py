"""Raw files in, arrays out: images, sound, video and audio front ends. Knows nothing of data sets."""
