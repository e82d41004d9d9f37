// Map, table and sample, wired together. Without this script the page keeps its still map and its lists.

const legend = (list, by, counts) => {
  const box = document.getElementById("legend");
  const isFilter = by === "source" || by === "kind";
  box.replaceChildren(
    ...list.flatMap((look, i) => {
      const [rows, picks] = counts[i];
      if (!rows) return [];
      const mark = make("span", { class: "mark", "aria-hidden": "true" });
      mark.style.background = `rgb(${look.color})`;
      const said = [mark, make("bdi", {}, look.name), make("small", {}, by === "chosen" ? ` ${rows.toLocaleString("en")} rows` : ` ${picks.toLocaleString("en")} of ${rows.toLocaleString("en")} picked`)];
      if (!isFilter || look.value === undefined) return [make("span", {}, ...said)];
      const button = make("button", { type: "button" }, ...said);
      button.addEventListener("click", () => samples.choose(by, look.value));
      return [button];
    }),
  );
};

let samples, plane;

const showSample = (row) => {
  if (row === undefined) return;
  plane.show(row);
  const box = document.getElementById("sample");
  box.replaceChildren(make("h3", { id: "sample-h", tabindex: "-1" }, "Sample"), sampleView(row, samples.columns, samples.texts, showSample));
};

const start = async () => {
  const columns = await readColumns();
  const texts = await readTexts();
  for (const element of document.querySelectorAll(".live")) element.hidden = false;
  plane = new Plane(columns, texts, { chosen: showSample, lassoed: (rows) => samples.within(rows), legend });
  samples = new (columns.runs ? RunSamples : Samples)(columns, texts, (mask) => plane.fade(mask));
  samples.onOpen = (row) => plane.show(row);
  samples.onOther = (row) => {
    showSample(row);
    document.getElementById("sample").scrollIntoView({ block: "nearest" });
    document.getElementById("sample-h").focus({ preventScroll: true });
  };
  document.documentElement.dataset.table = "1";
  showSample(columns.at[0]);
  runDeck();
  await plane.draw();
};

const failed = (error) => {
  const said = document.getElementById("map-failed");
  said.hidden = false;
  said.textContent = `The map could not be drawn (${error.message}); the still one and the lists below say the same.`;
  for (const id of ["map-still", "still-note"]) document.getElementById(id).removeAttribute("hidden");
  for (const id of ["plane", "map-tools", "legend"]) document.getElementById(id).hidden = true;
};

addEventListener("DOMContentLoaded", () => requestAnimationFrame(() => setTimeout(() => start().catch(failed), 0)));
