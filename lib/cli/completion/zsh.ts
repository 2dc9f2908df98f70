import { quoted } from '../text.ts';
import {
  type Branch,
  deviceGlobs,
  type Offer,
  type OfferedCommand,
  type OfferedOption,
  reasonSummary,
  summaryOf,
  treeOf,
} from './model.ts';

/** The completion for zsh, as a file `_vfio` of its fpath or sourced after compinit. */
export function zshCompletion(
  commands: readonly OfferedCommand[],
  reasons: readonly string[],
): string {
  const tree = treeOf(commands);
  const help: Branch = { word: 'help', command: undefined, branches: tree.map(withoutCommand) };
  return [
    '#compdef vfio',
    '# Completion of vfio for zsh, made by: vfio completion zsh',
    devices,
    ...commands.map(ofCommand),
    ...ofBranches('_vfio', [...tree, { ...help, branches: [] }], topOptions),
    ...ofBranches('_vfio_help', [...help.branches, ...reasons.map(ofReason)], []),
    ending,
  ].join('\n');
}

/** What follows `vfio help` are names alone. */
function withoutCommand(branch: Branch): Branch {
  return { ...branch, command: undefined, branches: branch.branches.map(withoutCommand) };
}

function ofReason(word: string): Branch {
  return { word, command: undefined, branches: [] };
}

const topOptions = [
  "'(- *)'{-h,--help}'[Say what it does]'",
  "'(- *)--version[Print the version]'",
];

const devices = `
_vfio_devices() {
  local -a found
  local expl
  if [[ $PREFIX == /* ]]; then
    _files
    return
  fi
  case $1 in
${Object.entries(deviceGlobs)
  .map(([kind, glob]) => `    ${kind}) found=(${glob}(N:h:t)) ;;`)
  .join('\n')}
  esac
  _wanted devices expl device compadd -a found
}
`;

/** Sourced, it names the function; as a file of the fpath it is the function's body. */
const ending = `
if [[ $funcstack[1] == _vfio ]]; then
  _vfio "$@"
else
  compdef _vfio vfio
fi`;

function ofCommand({ words, options, positionals, isLastRepeated }: OfferedCommand): string {
  const places = positionals.map((offer, at) => {
    const isRepeated = isLastRepeated && at === positionals.length - 1;
    return quoted(`${isRepeated ? '*' : at + 1}:argument:${actionOf(offer)}`);
  });
  const specs = [...options.map(ofOption), ...places];
  return [
    `${nameOf(words)}() {`,
    `  _arguments -S \\\n    ${specs.join(' \\\n    ')}`,
    '}',
    '',
  ].join('\n');
}

function ofOption({ name, description, takesValue, value }: OfferedOption): string {
  const text = description.replace(/[[\]:\\]/g, String.raw`\$&`);
  return quoted(takesValue ? `${name}=[${text}]:value:${actionOf(value)}` : `${name}[${text}]`);
}

function actionOf(offer: Offer): string {
  if (offer === undefined) return ' ';
  if (offer.kind === 'words') return `(${offer.words.join(' ')})`;
  // The space keeps _arguments from adding arguments of its own.
  if (offer.kind === 'devices') return ` _vfio_devices ${offer.which}`;
  return offer.kind === 'files' ? '_files' : '_groups';
}

/** A function that completes one of these words, and calls the function of what follows it. */
function ofBranches(name: string, branches: readonly Branch[], options: string[]): string[] {
  if (branches.length === 0) return [];
  const described = branches.map((branch) => `    ${quoted(`${branch.word}:${said(branch)}`)}`);
  const next = branches.flatMap(({ word, command, branches: more }) => {
    const called = more.length > 0 || (command === undefined && word === 'help');
    if (called) return [`    ${word}) ${name}_${word} ;;`];
    return command ? [`    ${word}) ${nameOf(command.words)} ;;`] : [];
  });
  const specs = [...options, "'1:command:->commands'", "'*::argument:->arguments'"];
  const own = [
    `${name}() {`,
    '  local curcontext=$curcontext state line',
    '  local -a all',
    '  all=(',
    ...described,
    '  )',
    `  _arguments -C ${specs.join(' ')}`,
    '  case $state in',
    '    commands) _describe command all; return ;;',
    '    arguments) ;;',
    '    *) return ;;',
    '  esac',
    '  case $words[1] in',
    ...next,
    '  esac',
    '}',
    '',
  ].join('\n');
  const below = branches.flatMap(({ word, branches: more }) =>
    ofBranches(`${name}_${word}`, more, []),
  );
  return [own, ...below];
}

function said(branch: Branch): string {
  return branch.word === 'help' ? 'Say what a command does' : summaryOf(branch) || reasonSummary;
}

/** Apart from those of the words that lead to it. */
function nameOf(words: readonly string[]): string {
  return `_vfio_command_${words.join('_')}`;
}
