/** How many there are of something: `1 byte`, `2 bytes`; `many` where that is not one `s` more. */
export function counted(count: number | bigint, one: string, many = `${one}s`): string {
  return `${count} ${Number(count) === 1 ? one : many}`;
}
