"use strict";
// Everything that comes from the model or a user is put on screen with textContent, never as markup.
const data = JSON.parse(document.getElementById("data").textContent);
const answer = document.getElementById("answer");
const panel = document.getElementById("panel");
const spans = [...answer.children];
let pinned = -1;

function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

function visible(text) {
  return (text.replace(/^ +| +$/g, "") || text).replace(/\n/g, "\u21b5").replace(/\t/g, "\u21e5") || "\u2205";
}

function bar(fraction, className) {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  const rect = document.createElementNS(space, "rect");
  svg.setAttribute("aria-hidden", "true");
  rect.setAttribute("width", Math.max(0, Math.min(1, fraction)) * 100 + "%");
  rect.setAttribute("height", "100%");
  rect.setAttribute("class", className);
  svg.append(rect);
  return svg;
}

function cell(text, fraction, className) {
  const made = element("td", text);
  made.append(bar(fraction, className));
  return made;
}

function percent(value) {
  if (value > 0 && value < 0.001) return "<0.1%";
  if (value > 0.999 && value < 1) return ">99.9%";
  return (value * 100).toFixed((value > 0 && value < 0.1) || (value > 0.99 && value < 1) ? 1 : 0) + "%";
}

function table(caption, headings, rows) {
  const made = element("table");
  made.append(element("caption", caption));
  const head = element("tr");
  for (const heading of headings) {
    const th = element("th", heading);
    th.scope = "col";
    head.append(th);
  }
  const top = element("thead");
  top.append(head);
  const body = element("tbody");
  body.append(...rows);
  made.append(top, body);
  return made;
}

function candidateRow(token, [id, text, before, after]) {
  const row = element("tr", undefined, id === token.chosen ? "chosen" : "");
  const name = element("th");
  name.scope = "row";
  name.append(element("code", visible(text)));
  row.append(name, cell(percent(before), before, "before"), cell(percent(after), after, "after"));
  return row;
}

function times(nats) {
  const factor = Math.exp(Math.abs(nats));
  const shown = factor > 1000 ? "over 1,000" : factor < 10 ? factor.toFixed(1) : factor.toFixed(0);
  return shown === "1.0" ? "as likely as before" : shown + (nats < 0 ? " times unlikelier" : " times likelier");
}

function contributionRow(token, contribution, branch) {
  const row = element("tr");
  const name = element("th", data.branches[branch]);
  name.scope = "row";
  name.dir = "auto";
  const largest = Math.max(1, ...token.contributions.map(Math.abs));
  row.append(name, cell(times(contribution), Math.abs(contribution) / largest, contribution < 0 ? "before" : "after"));
  return row;
}

function describe(token) {
  const [, , before, after] = token.candidates.find(([id]) => id === token.chosen);
  const title = element("h3");
  title.append(element("code", visible(token.label)), ` ${percent(before)} \u2192 ${percent(after)}`);
  const words = element("p");
  if (token.changed) words.append("Without the preferences ", element("code", visible(token.reference)), " would stand here.");
  else words.append("The same would stand here without the preferences.");
  const rows = token.candidates.map((each) => candidateRow(token, each));
  const parts = [title, words, table("What could have stood here", ["", "without", "with"], rows)];
  if (token.contributions.length > 1) {
    parts.push(table("What each preference made of it", ["preference", ""], token.contributions.map((nats, i) => contributionRow(token, nats, i))));
  }
  return parts;
}

function show(number) {
  spans.forEach((span, i) => span.setAttribute("aria-selected", String(i === number)));
  panel.hidden = number < 0;
  panel.replaceChildren();
  if (number < 0) {
    answer.removeAttribute("aria-activedescendant");
    return;
  }
  answer.setAttribute("aria-activedescendant", spans[number].id);
  const close = element("button", "Close");
  close.type = "button";
  close.addEventListener("click", () => { pin(-1); answer.focus(); });
  panel.append(close, ...data.spans[number].flatMap((place) => describe(data.tokens[place])));
  panel.scrollTop = 0;
}

function pin(number) {
  pinned = number;
  show(number);
  if (number >= 0) spans[number].scrollIntoView({ block: "nearest" });
}

const numberOf = (event) => spans.indexOf(event.target);

answer.addEventListener("pointerover", (event) => {
  if (event.pointerType === "mouse" && numberOf(event) >= 0) show(numberOf(event));
});
answer.addEventListener("pointerleave", (event) => {
  if (event.pointerType === "mouse") show(pinned);
});
answer.addEventListener("click", (event) => {
  if (numberOf(event) >= 0) pin(numberOf(event));
});
answer.addEventListener("keydown", (event) => {
  const last = spans.length - 1;
  const moves = {
    ArrowRight: Math.min(pinned + 1, last), ArrowDown: Math.min(pinned + 1, last),
    ArrowLeft: Math.max(pinned - 1, 0), ArrowUp: Math.max(pinned - 1, 0), Home: 0, End: last, Escape: -1,
  };
  if (!(event.key in moves) || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  pin(moves[event.key]);
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") pin(-1);
});

// page.html#t12 opens with that word, so that somebody can be shown it; else the one that was moved most.
const linked = spans.findIndex((span) => "#" + span.id === location.hash);
const moved = data.spans.map((members) => Math.max(...members.map((place) => Math.abs(data.tokens[place].moved))));
if (linked >= 0) pin(linked);
else show((pinned = moved.indexOf(Math.max(...moved))));
