"""The clip explorer: a page per run that shows what was seen, heard, annotated and predicted, clip by clip, from disk.

    pictures, sounds    the files of one clip
    scores              its numbers, per frame and as a whole
    shared, build       the folder that all runs of a data set share, and that of a run
    page, scripts       the page (`explorer.css` and the .js files here in one), and the data that it loads
    links               those of the leaderboard's page

    <data set>/explorer/clips.js                      which clips there are; written last
    <data set>/explorer/runs.js                       which runs can be shown beside each other
    <data set>/explorer/media/<n>/                    frames.jpg, truth.png, spectrogram.png, sound.flac
    <run>/explorer/{index.html,scores.js,about.json}  the page, a score a clip, what runs.js says of the run
    <run>/explorer/clips/<n>.{png,js}                 what was predicted for a clip, and its numbers per frame

A page opened from disk may neither fetch files nor look into pictures. So data are scripts that call a function of the
page, and everything drawn over a frame is a picture of its own. A strip holds the frames of a clip from left to right;
a sheet, strips of several kinds one below the other.
"""
