/**
 * The known word that was probably meant, where one is near: by mistakes of a letter or of two
 * that changed places, or since what was typed is its beginning.
 */
export function suggestion(typed: string, known: readonly string[]): string | undefined {
  const word = typed.toLowerCase();
  let best: string | undefined;
  let least = mostMistakes(word) + 1;
  for (const each of known) {
    const isBeginning = word.length > 1 && each.startsWith(word);
    const mistakes = isBeginning ? 1 : distance(word, each);
    if (mistakes < least) [best, least] = [each, mistakes];
  }
  return best;
}

/** `; did you mean 'list'?`, or nothing. */
export function didYouMean(typed: string, known: readonly string[]): string {
  const meant = suggestion(typed, known);
  return meant === undefined ? '' : `; did you mean '${meant}'?`;
}

function mostMistakes(word: string): number {
  return word.length < 3 ? 0 : word.length < 6 ? 1 : 2;
}

/** Damerau and Levenshtein's, in which nothing is changed twice. */
function distance(a: string, b: string): number {
  const rows = [Array.from({ length: b.length + 1 }, (_, at) => at)];
  const at = (i: number, j: number): number => rows[i]?.[j] ?? 0;
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    rows.push(row);
    for (let j = 1; j <= b.length; j++) {
      const changed = at(i - 1, j - 1) + Number(a[i - 1] !== b[j - 1]);
      const isSwapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      const swapped = isSwapped ? at(i - 2, j - 2) + 1 : Infinity;
      row.push(Math.min(at(i - 1, j) + 1, at(i, j - 1) + 1, changed, swapped));
    }
  }
  return at(a.length, b.length);
}
