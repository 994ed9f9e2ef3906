// What the page loads, by relative path: scripts with data, and the pictures of the clip shown. Nothing is fetched.

/** Data files call this; who asked for the file finds the content at its script element. */
window.avsbenchExplorer = (content) => { document.currentScript.content = content; };

/** A relative path whose names may hold any character. */
function path(...parts) {
  return parts.join("/").split("/").map((name) => (name === ".." || name === "." ? name : encodeURIComponent(name))).join("/");
}

/** The content of a data file; rejected if there is none. */
function data(file) {
  return new Promise((resolve, reject) => {
    const script = document.createElement("script");
    const missing = () => reject(new Error(`${decodeURIComponent(file)} is missing or damaged`));
    script.src = file;
    script.onload = () => { script.remove(); script.content === undefined ? missing() : resolve(script.content); };
    script.onerror = () => { script.remove(); missing(); };
    document.head.append(script);
  });
}

/** A loaded picture; rejected if there is none. */
function picture(file) {
  return new Promise((resolve, reject) => {
    const image = new Image();
    image.onload = () => resolve(image);
    image.onerror = () => reject(new Error(`${decodeURIComponent(file)} is missing or damaged`));
    image.src = file;
  });
}
