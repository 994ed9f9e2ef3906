// The sound of a clip: player, spectrogram, and a playhead that says which second and frame is heard.

class Player {
  /** onframe(frame): called when another frame is heard or chosen. */
  constructor(onframe) {
    this.onframe = onframe;
    this.clip = null;
    this.audio = el("audio", { controls: true, preload: "metadata", "aria-label": "Sound of the clip" });
    this.image = el("img", { alt: "" });
    this.head = el("div", { class: "playhead" });
    this.box = el("div", { class: "spectrogram" }, this.image, this.head);
    this.box.addEventListener("click", (event) => {
      const place = this.box.getBoundingClientRect();
      this.seek(this.clip.seconds * Math.min(1, Math.max(0, (event.clientX - place.left) / place.width)));
    });
    this.note = el("p", { class: "note" });
    for (const name of ["timeupdate", "seeking", "play", "pause"]) this.audio.addEventListener(name, () => this.move());
    this.audio.addEventListener("play", () => this.follow());
  }

  /** Another clip, from a second on. Its sound loads when somebody plays it. */
  open(clip, folder, second) {
    this.clip = clip;
    this.audio.pause();
    this.audio.src = path(folder, "sound.flac");
    this.audio.currentTime = second; // counts at once, while the file before still has events to tell
    this.image.src = path(folder, "spectrogram.png");
    const channels = clip.channels > 1 ? "left channel above the right one, " : "";
    const nothing = clip.silent ? "; the sound is digital silence" : "";
    this.image.alt = `Log-mel spectrogram of ${clip.seconds} seconds, ${channels}125 Hz at the bottom to 7.5 kHz at the top${nothing}`;
    this.box.classList.toggle("stereo", clip.channels > 1);
    this.note.textContent = clip.channels > 1 ? "Left channel above, right below; a mono method hears their sum." : "";
    this.draw(second);
  }

  get time() {
    return this.audio.currentTime || 0;
  }

  /** The frame that is heard; a still picture has one. */
  get frame() {
    return this.clip.frames === 1 ? 0 : Math.min(this.clip.frames - 1, Math.floor(this.time + 1e-3));
  }

  seek(time) {
    this.audio.currentTime = Math.min(time, this.clip.seconds - 0.01);
    this.move();
  }

  move() {
    this.draw(this.time);
    this.onframe(this.frame);
  }

  draw(time) {
    this.head.style.left = `${(100 * Math.min(time, this.clip.seconds)) / this.clip.seconds}%`;
  }

  follow() {
    if (this.audio.paused) return;
    this.draw(this.time);
    requestAnimationFrame(() => this.follow());
  }

  toggle() {
    if (this.audio.paused) this.audio.play();
    else this.audio.pause();
  }
}
