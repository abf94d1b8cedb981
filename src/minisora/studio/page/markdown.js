/** Markdown of model cards as elements: headings, paragraphs, lists, tables, code. Nothing in it is run or fetched. */
import { html } from "./html.js";

const INLINE = /(\*\*[^*]+\*\*|`[^`]+`)/;
const KINDS = [ // of lines that belong together
  ["heading", /^#{1,6} /], ["code", /^ {4}/], ["table", /^\|/], ["list", /^(?:[-*]|\d+\.) |^ {2}\S/], ["blank", /^\s*$/],
];
const kindOf = (line) => KINDS.find(([, form]) => form.test(line))?.[0] ?? "text";

export function Markdown({ text }) {
  return blocks(text).map(({ kind, lines }, n) => html`<${Block} key=${n} kind=${kind} lines=${lines} />`);
}

/** Lines of one kind stand together; what follows a line of a list or of a paragraph goes on with it. */
export function blocks(text) {
  const found = [];
  for (const line of text.split("\n")) {
    const kind = kindOf(line), last = found.at(-1);
    if (last?.kind === kind && kind !== "heading") last.lines.push(line);
    else if (last?.kind === "list" && kind === "text") last.lines.push(`  ${line}`);
    else found.push({ kind, lines: [line] });
  }
  return found.filter(({ kind }) => kind !== "blank");
}

function Block({ kind, lines }) {
  if (kind === "heading") {
    const [, marks, words] = /^(#+) (.*)/.exec(lines[0]), level = marks.length + 1;
    return level === 2 ? null : html`<h3><${Inline} text=${words} /></h3>`; // the first is the name
  }
  if (kind === "code") return html`<pre tabindex="0">${lines.map((line) => line.slice(4)).join("\n")}</pre>`;
  if (kind === "list") return html`<ul>${items(lines).map((each, n) => html`<li key=${n}><${Inline} text=${each} /></li>`)}</ul>`;
  if (kind === "table") return html`<${Table} rows=${lines.filter((line) => !/^\|[\s:|-]+$/.test(line)).map(cells)} />`;
  return html`<p><${Inline} text=${lines.join(" ")} /></p>`;
}

const items = (lines) => lines.reduce((found, line) =>
  (line.startsWith("  ") && found.length ? [...found.slice(0, -1), `${found.at(-1)} ${line.trim()}`] : [...found, line.replace(/^\S+ /, "")]), []);
const cells = (line) => line.replace(/^\||\|\s*$/g, "").split("|").map((cell) => cell.trim());

function Table({ rows: [head, ...rows] }) {
  return html`<div class="wide-table" tabindex="0"><table>
    <thead><tr>${head.map((cell, n) => html`<th key=${n} scope="col"><${Inline} text=${cell} /></th>`)}</tr></thead>
    <tbody>${rows.map((row, n) => html`<tr key=${n}>${row.map((cell, m) => html`<td key=${m}><${Inline} text=${cell} /></td>`)}</tr>`)}</tbody>
  </table></div>`;
}

function Inline({ text }) {
  return text.split(INLINE).map((piece) => {
    if (piece.startsWith("**")) return html`<b>${piece.slice(2, -2)}</b>`;
    return piece.startsWith("`") ? html`<code>${piece.slice(1, -1)}</code>` : piece;
  });
}
