// What the reader has chosen. It lives in the address after #, so that a view can be shared.
//   data: name of a data set, or ROBUST. protocol: a letter. sort: key of a column, "-" before it: descending.
//   find: words. hide: badges; without: methods, both lists of what is not shown. reference: id of a row.
//   axis: a cost. open: ids of rows that show their runs.

const CHOICES = { data: "", protocol: "", sort: "", find: "", hide: "", without: "", reference: "", axis: "", open: "" };
const state = { ...CHOICES };

/** The address of a view: the present one with `changes`; choices that are not made are left out. */
function addressOf(changes = {}) {
  const all = new URLSearchParams();
  for (const [name, value] of Object.entries({ ...state, ...changes })) if (value) all.set(name, value);
  return `#${all}`;
}

/** Take over what the address says; unknown words in it are ignored. */
function readAddress() {
  const found = new URLSearchParams(location.hash.slice(1));
  for (const name of Object.keys(CHOICES)) state[name] = found.get(name) ?? "";
}

/** Make a choice; the address follows, without a new entry in the browser's history. */
function choose(changes) {
  Object.assign(state, changes);
  history.replaceState(null, "", addressOf());
  drawLinks();
}

/** A choice that is a list: its members. */
function chosen(name) {
  return new Set(state[name] ? state[name].split("~") : []);
}

/** `list` with or without `member`, as a choice. */
function listed(name, member, present) {
  const members = chosen(name);
  if (present) members.add(member);
  else members.delete(member);
  return [...members].join("~");
}
