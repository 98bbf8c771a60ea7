// The chat: one question to the model twice, without the user's memory and with it, and what the memory did to each word.

const byId = (id) => document.getElementById(id);
const words = byId("words").dataset;
const model = byId("ask").dataset.model;
let running = null;
let last = null; // the aligned answer: its id and report
let without = new Set();

// Send a request and give each chunk of the stream to `onChunk`.
async function ask(options, signal, onChunk) {
  const body = {
    model,
    messages: [{ role: "user", content: byId("question").value }],
    stream: true,
    max_tokens: 200,
    la_agents: options,
  };
  const response = await fetch("/v1/chat/completions", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
    signal,
  });
  if (!response.ok) throw new Error((await response.json()).error.message);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    text += value;
    const events = text.split("\n\n");
    text = events.pop();
    for (const event of events) {
      const line = event.split("\n").find((each) => each.startsWith("data: "));
      if (!line || line === "data: [DONE]") continue;
      const chunk = JSON.parse(line.slice(6));
      if (chunk.error) throw new Error(chunk.error.message);
      onChunk(chunk);
    }
  }
}

async function answer(place, options, signal) {
  place.replaceChildren();
  place.classList.add("busy");
  let final = null;
  try {
    await ask(options, signal, (chunk) => {
      place.append(chunk.choices[0]?.delta.content ?? "");
      if (chunk.la_agents) final = { id: chunk.id, report: chunk.la_agents.alignment };
    });
  } finally {
    place.classList.remove("busy");
  }
  return final;
}

async function start() {
  running?.abort();
  running = new AbortController();
  const { signal } = running;
  byId("problem").hidden = true;
  byId("after").hidden = byId("token").hidden = true;
  byId("moved").textContent = "";
  byId("answers").hidden = byId("stop").hidden = false;
  const strength = Number(byId("strength").value);
  try {
    const [, aligned] = await Promise.all([
      answer(byId("plain"), { memory: false }, signal),
      answer(byId("aligned"), { strength, explain: true, without: [...without] }, signal),
    ]);
    last = aligned;
    if (last) show(last.report);
  } catch (error) {
    if (error.name === "AbortError") return;
    running.abort();
    byId("problem").textContent = `${words.failed} ${error.message}`;
    byId("problem").hidden = false;
  } finally {
    if (running.signal === signal) byId("stop").hidden = true;
  }
}

const moved = (token) => {
  const chosen = token.candidates.find((each) => each.id === token.id);
  return Math.log(Math.max(chosen.aligned, 1e-9) / Math.max(chosen.reference, 1e-9));
};

function show(report) {
  byId("aligned").replaceChildren(...report.tokens.map((token) => shaded(token, report)));
  byId("used").replaceChildren(...report.principles.map(used));
  byId("nothing").hidden = report.principles.length > 0;
  byId("after").hidden = false;
}

function shaded(token, report) {
  const strength = Math.min(Math.max(moved(token), 0) / 4, 1);
  const isSeen = /[\p{L}\p{N}\p{P}\p{S}]/u.test(token.text); // a line break is no button: it would have no name
  if (!isSeen || strength < 0.05) return document.createTextNode(token.text);
  const span = document.createElement("span");
  span.className = "t";
  const word = token.text.trimStart();
  span.textContent = word || token.text;
  span.style.setProperty("--m", strength.toFixed(2));
  span.tabIndex = 0;
  span.role = "button";
  span.setAttribute("aria-pressed", "false");
  const choose = () => explain(span, token, report);
  span.addEventListener("click", choose);
  span.addEventListener("mouseenter", choose);
  span.addEventListener("focus", choose);
  span.addEventListener("keydown", (event) => (event.key === "Enter" || event.key === " ") && (event.preventDefault(), choose()));
  const parts = document.createDocumentFragment();
  parts.append(word ? token.text.slice(0, token.text.length - word.length) : "", span); // a space before a word is not shaded
  return parts;
}

function explain(span, token, report) {
  for (const other of byId("aligned").querySelectorAll("[aria-pressed=true]")) other.setAttribute("aria-pressed", "false");
  span.setAttribute("aria-pressed", "true");
  byId("reference").textContent = token.reference.trim() || token.reference;
  const share = (value) => `${(100 * value).toFixed(value < 0.1 ? 1 : 0)} %`;
  byId("candidates").replaceChildren(
    ...token.candidates.slice(0, 5).map((each) => {
      const row = document.createElement("tr");
      row.append(...[each.text, share(each.reference), share(each.aligned)].map((text) => {
        const cell = document.createElement("td");
        cell.textContent = text;
        return cell;
      }));
      return row;
    }),
  );
  const most = token.contributions.indexOf(Math.max(...token.contributions));
  const pushers = (report.branches[most]?.principles ?? []).map((place) => `“${report.principles[place].text}”`);
  byId("pushed").textContent = pushers.length ? `${words.pushed} ${pushers.join(", ")}` : "";
  byId("token").hidden = false;
}

function used(principle) {
  const item = byId("used-one").content.cloneNode(true).firstElementChild;
  item.querySelector(".said").textContent = principle.text;
  const shared = principle.layer === "user" ? "" : `${words.shared}: ${principle.layer} · `;
  item.querySelector(".weight").textContent = `${shared}${words.weight} ${principle.weight.toFixed(2)}`;
  item.dataset.id = principle.id ?? "";
  const box = item.querySelector("input");
  box.parentElement.hidden = principle.layer !== "user"; // what is shared is not one user's to leave out
  box.addEventListener("change", () => {
    without.add(principle.id);
    start();
  });
  return item;
}

async function rate(score) {
  const response = await fetch("/v1/feedback", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ answer: last.id, score }),
  });
  const body = await response.json();
  if (!response.ok) {
    byId("moved").textContent = `${words.failed} ${body.error.message}`;
    return;
  }
  byId("moved").textContent = body.changed.length ? words.moved : words.unmoved;
  for (const changed of body.changed) {
    const item = byId("used").querySelector(`[data-id="${CSS.escape(changed.id)}"]`);
    if (item) item.querySelector(".weight").textContent = `${words.weight} ${changed.weight.toFixed(2)}`;
  }
}

byId("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  without = new Set();
  start();
});
byId("question").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey) {
    event.preventDefault();
    byId("ask").requestSubmit();
  }
});
byId("stop").addEventListener("click", () => running?.abort());
for (const button of byId("rate").querySelectorAll("[data-score]")) {
  button.addEventListener("click", () => rate(Number(button.dataset.score)));
}
