// Draws a terminal in which commands were typed, as an SVG that plays: what was printed is what is
// given, and the time of typing is made up. Who has no animations, or wants none, sees the end.

const columns = 100;
const rows = 27;
const [charWidth, rowHeight] = [7.225, 17];
const margin = 16;

/** Seconds: what takes how long, and what is sudden. */
const pace = { character: 0.035, enter: 0.4, reading: 1, line: 0.08, end: 5 };
const instant = 0.01;

/**
 * `scenes`: for each command what was typed, and what came on which stream, in its order:
 * `{ typed: 'npx vfio list', said: [{ stream: 'out', text: '…' }] }`.
 */
export function drawTerminal(scenes, title) {
  const lines = layOut(scenes);
  const duration = lines.at(-1).at + pace.end;
  const [width, height] = [columns * charWidth + 2 * margin, rows * rowHeight + 2 * margin];
  const frame = `width="${round(width)}" height="${height}"`;
  return `<svg xmlns="http://www.w3.org/2000/svg" ${frame} viewBox="0 0 ${round(width)} ${height}" role="img" aria-labelledby="title">
<title id="title">${escape(title)}</title>
<style>
${styles}
.on, .screen, .cover { animation: ${round(duration)}s linear infinite }
${lines.map((line, row) => keyframesOf(line, row, duration)).join('\n')}
${scrolling(lines, duration)}
@media (prefers-reduced-motion: reduce) { .on, .screen, .cover, .cursor { animation: none } }
</style>
<clipPath id="inside"><rect x="0" y="${margin}" width="${round(width)}" height="${rows * rowHeight}"/></clipPath>
<rect class="back" ${frame} rx="8"/>
<g clip-path="url(#inside)" xml:space="preserve"><g class="screen" transform="translate(0 ${-scrolledAt(lines.length)})" style="animation-name: scroll">
${lines.map(drawLine).join('\n')}
</g></g>
</svg>
`;
}

// The last state of each animation is what is drawn without it.
const styles = `text { font: 12px ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace; fill: #1f2328; white-space: pre }
.back { fill: #f6f8fa; stroke: #d1d9e0 }
.hide { fill: #f6f8fa }
.prompt { fill: #1a7f37; font-weight: bold }
.typed { font-weight: bold }
.err { fill: #cf222e }
.cursor { fill: #59636e; animation: blink 1s steps(1) infinite }
.cover { opacity: 0 }
@keyframes blink { 50% { opacity: 0 } }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 }
.back { fill: #0d1117; stroke: #3d444d }
.hide { fill: #0d1117 }
.prompt { fill: #3fb950 }
.err { fill: #ff7b72 }
.cursor { fill: #9198a1 }
}`;

/** Each row of the screen, and when it is there. */
function layOut(scenes) {
  const lines = [];
  let now = 0;
  for (const { typed, said } of scenes) {
    // The prompt is there while what was printed before is read.
    const begun = now + pace.reading + lines.filter(({ at }) => at === now).length * pace.line;
    const done = begun + typed.length * pace.character;
    lines.push({ kind: 'command', text: typed, at: now, begun, done });
    now = done + pace.enter;
    for (const { stream, text } of said) {
      const printed = text.trimEnd().split('\n').flatMap(wrap);
      lines.push(...printed.map((each) => ({ kind: stream, text: each, at: now })));
    }
  }
  lines.push({ kind: 'prompt', text: '', at: now });
  return lines;
}

/** As a terminal breaks what is longer than its rows. */
function wrap(line) {
  const parts = line.match(new RegExp(`.{1,${columns}}`, 'gu'));
  return parts ?? [''];
}

function drawLine({ kind, text }, row) {
  const y = margin + row * rowHeight + 12.5;
  const shown = `class="on" style="animation-name: on${row}"`;
  if (kind === 'out' || kind === 'err') {
    return text === ''
      ? ''
      : `<g ${shown}><text class="${kind}" x="${margin}" y="${y}">${escape(text)}</text></g>`;
  }
  const prompt = `<text class="prompt" x="${margin}" y="${y}">$</text>`;
  const start = margin + 2 * charWidth;
  const top = round(y - 11.5);
  const cursor = `<rect class="cursor" x="${round(start)}" y="${top}" width="7" height="15"/>`;
  if (kind === 'prompt') return `<g ${shown}>${prompt}${cursor}</g>`;
  const rest = round((columns - 2) * charWidth + margin - 2);
  const hide = `<rect class="hide" x="${round(start)}" y="${top}" width="${rest}" height="15"/>`;
  const cover = `<g class="cover" style="animation-name: cover${row}">${hide}${cursor}</g>`;
  return `<g ${shown}>${prompt}<text class="typed" x="${round(start)}" y="${y}">${escape(text)}</text>${cover}</g>`;
}

/** When a row comes; of a command how its cover, with the cursor, moves to the right. */
function keyframesOf({ kind, text, at, begun, done }, row, duration) {
  if (text === '' && kind !== 'prompt') return '';
  const percent = (time) => `${round((100 * time) / duration)}%`;
  const on = `@keyframes on${row} { 0%, ${percent(at)} { opacity: 0 } ${percent(at + instant)}, to { opacity: 1 } }`;
  if (kind !== 'command') return on;
  const moved = `transform: translateX(${round(text.length * charWidth)}px)`;
  const frames = [
    `0%, ${percent(begun)} { opacity: 1; transform: none; animation-timing-function: steps(${text.length}) }`,
    `${percent(done)}, ${percent(done + pace.enter - instant)} { opacity: 1; ${moved} }`,
    `${percent(done + pace.enter)}, to { opacity: 0; ${moved} }`,
  ];
  return `${on}\n@keyframes cover${row} { ${frames.join(' ')} }`;
}

/** So many pixels are above the screen when there are so many rows. */
function scrolledAt(count) {
  return Math.max(0, count - rows) * rowHeight;
}

function scrolling(lines, duration) {
  const percent = (time) => `${round((100 * time) / duration)}%`;
  let last = 0;
  const frames = [...new Set(lines.map(({ at }) => at))].flatMap((time) => {
    const before = last;
    last = scrolledAt(lines.filter(({ at }) => at <= time).length);
    if (last === before) return [];
    const moved = (pixels) => `{ transform: translateY(${-pixels}px) }`;
    return [`${percent(time)} ${moved(before)} ${percent(time + instant)} ${moved(last)}`];
  });
  return `@keyframes scroll { 0% { transform: none } ${frames.join(' ')} to { transform: translateY(${-last}px) } }`;
}

function round(number) {
  return Math.round(number * 100) / 100;
}

function escape(text) {
  return text.replace(/[&<>]/g, (one) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;' })[one]);
}
