import {
  type Branch,
  deviceGlobs,
  type Offer,
  type OfferedCommand,
  reasonSummary,
  summaryOf,
  treeOf,
} from './model.ts';

/** The completion for fish, of version 3.0 or later. */
export function fishCompletion(
  commands: readonly OfferedCommand[],
  reasons: readonly string[],
): string {
  const tree = treeOf(commands);
  return [
    '# Completion of vfio for fish, made by: vfio completion fish',
    functions,
    'complete -c vfio -f',
    ...ofBranches(tree, []),
    ...ofBranches(tree, ['help']),
    entry("-n '__vfio_typed help'", `-a ${quoted(reasons.join(' '))}`, reasonSummary),
    entry("-n '__vfio_typed'", '-a help', 'Say what a command does'),
    entry("-n '__vfio_typed'", '-l help -s h', 'Say what vfio does'),
    entry("-n '__vfio_typed'", '-l version', 'Print the version'),
    ...commands.flatMap(ofCommand),
  ].join('\n');
}

const functions = `
# The devices of a kind.
function __vfio_devices
    set -l found
    switch $argv[1]
${Object.entries(deviceGlobs)
  .map(([kind, glob]) => `        case ${kind}\n            set found ${glob}`)
  .join('\n')}
    end
    string replace -r '.*/([^/]+)/[^/]+$' '$1' -- $found
end

# Whether exactly these words stand between vfio and the cursor.
function __vfio_typed
    set -l typed (commandline -opc)
    test "$typed[2..-1]" = "$argv"
end

# Whether a command begins with these words.
function __vfio_is
    set -l typed (commandline -opc)
    set -l last (math 1 + (count $argv))
    test (count $typed) -ge $last; and test "$typed[2..$last]" = "$argv"
end

# Whether the cursor is at this argument of a command, or with + at this or a later one: its number,
# how many words the command's name has, these words, and the options that take a value.
function __vfio_at
    set -l last (math 2 + $argv[2])
    __vfio_is $argv[3..$last]; or return 1
    set -l valued $argv[$last..-1]
    set -e valued[1]
    set -l typed (commandline -opc)
    set -e typed[1..(math 1 + $argv[2])]
    set -l at 0
    set -l skip 0
    set -l literal 0
    for word in $typed
        if test $skip = 1
            set skip 0
        else if test $literal = 1; or not string match -q -- '-?*' $word
            set at (math $at + 1)
        else if test "$word" = --
            set literal 1
        else if contains -- $word $valued
            set skip 1
        end
    end
    test $skip = 0; or return 1
    set -l wanted (string replace + '' -- $argv[1])
    test $at = $wanted; or begin
        string match -q '*+' -- $argv[1]; and test $at -gt $wanted
    end
end
`;

/** The words that may follow those before. */
function ofBranches(branches: readonly Branch[], before: readonly string[]): string[] {
  return branches.flatMap((branch) => {
    const condition = `-n ${quoted(['__vfio_typed', ...before].join(' '))}`;
    const own = entry(condition, `-a ${branch.word}`, summaryOf(branch));
    return [own, ...ofBranches(branch.branches, [...before, branch.word])];
  });
}

function ofCommand({
  name,
  words,
  options,
  positionals,
  isLastRepeated,
}: OfferedCommand): string[] {
  const is = `-n ${quoted(`__vfio_is ${name}`)}`;
  const valued = options.filter(({ takesValue }) => takesValue).map((option) => option.name);
  const places = positionals.flatMap((offer, at) => {
    const action = actionOf(offer);
    if (action === undefined) return [];
    const more = isLastRepeated && at === positionals.length - 1 ? '+' : '';
    const place = ['__vfio_at', `${at}${more}`, words.length, name, ...valued].join(' ');
    return [`complete -c vfio -n ${quoted(place)} ${action}`];
  });
  return [
    ...options.map(({ name: option, description, takesValue, value }) => {
      const long = `-l ${option.slice(2)}`;
      const required = takesValue ? ` -r ${actionOf(value) ?? '-f'}` : '';
      return entry(is, `${long}${required}`, description);
    }),
    ...places,
  ];
}

function entry(condition: string, what: string, description: string): string {
  return `complete -c vfio ${condition} ${what} -d ${quoted(description)}`;
}

function actionOf(offer: Offer): string | undefined {
  if (offer === undefined) return undefined;
  if (offer.kind === 'words') return `-f -a ${quoted(offer.words.join(' '))}`;
  if (offer.kind === 'files') return '-F';
  const command =
    offer.kind === 'devices' ? `__vfio_devices ${offer.which}` : '__fish_complete_groups';
  return `-f -a ${quoted(`(${command})`)}`;
}

/** In fish a backslash escapes within quotes. */
function quoted(text: string): string {
  return `'${text.replace(/[\\']/g, String.raw`\$&`)}'`;
}
