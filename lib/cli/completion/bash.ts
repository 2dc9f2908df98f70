import { quoted } from '../text.ts';
import { deviceGlobs, type Offer, type OfferedCommand } from './model.ts';

/** The completion for bash, of version 4.0 or later; it needs no bash-completion. */
export function bashCompletion(
  commands: readonly OfferedCommand[],
  reasons: readonly string[],
): string {
  return [
    '# Completion of vfio for bash, made by: vfio completion bash',
    '',
    `_vfio_names=(${commands.map(({ name }) => quoted(name)).join(' ')})`,
    devices,
    offers,
    main(commands, reasons),
    'complete -F _vfio vfio',
  ].join('\n');
}

/** As sysfs has them: no program is started. `compgen -G` heeds neither nullglob nor failglob. */
const devices = `
# The devices of a kind.
_vfio_devices() {
  local path glob
  case $1 in
${Object.entries(deviceGlobs)
  .map(([kind, glob]) => `    ${kind}) glob='${glob}' ;;`)
  .join('\n')}
  esac
  compgen -G "$glob" | while IFS= read -r path; do
    path=\${path%/*}
    printf '%s\\n' "\${path##*/}"
  done
}
`;

const offers = `
# Words that continue what is typed, behind a prefix of the same word.
_vfio_words() {
  local prefix=$1 typed=\${cur#"$1"} each
  shift
  for each; do
    [[ $each == "$typed"* ]] && COMPREPLY+=("$prefix$each")
  done
}

_vfio_files() {
  local each
  while IFS= read -r each; do
    COMPREPLY+=("$1$each")
  done < <(compgen -f -- "\${cur#"$1"}")
  compopt -o filenames 2>/dev/null
}

# What an action of the table offers.
_vfio_offer() {
  local found short
  case $1 in
    'words '*) _vfio_words "$2" \${1#words } ;;
    files) _vfio_files "$2" ;;
    unix-groups)
      mapfile -t found < <(compgen -g)
      _vfio_words "$2" "\${found[@]}"
      ;;
    'devices '*)
      if [[ $cur == /* ]]; then
        _vfio_files ''
        return
      fi
      mapfile -t found < <(_vfio_devices "\${1#devices }")
      _vfio_words '' "\${found[@]}"
      short=("\${found[@]#0000:}")
      [[ -n $cur && \${#COMPREPLY[@]} == 0 ]] && _vfio_words '' "\${short[@]}"
      ;;
  esac
}

# The next word of the commands whose names begin with these words.
_vfio_next() {
  local name rest seen=' '
  for name in "\${_vfio_names[@]}"; do
    [[ -z $1 || "$name " == "$1 "* ]] || continue
    rest=\${name#"$1"}
    rest=\${rest# }
    rest=\${rest%% *}
    [[ -n $rest && $seen != *" $rest "* ]] || continue
    seen+="$rest "
    _vfio_words '' "$rest"
  done
}
`;

function main(commands: readonly OfferedCommand[], reasons: readonly string[]): string {
  // A longer name stands before one that it begins with.
  const longestFirst = commands.toSorted((a, b) => b.words.length - a.words.length);
  return `
_vfio() {
  local IFS=$' \\t\\n' line=\${COMP_LINE:0:COMP_POINT} cur word option= action literal= skip=0 at=0
  local -a words before options=() arguments=()
  local more=
  COMPREPLY=()
  # Not COMP_WORDS: in it bash breaks addresses at their colons.
  read -ra words <<<"$line"
  [[ $line == *[[:blank:]] ]] && words+=('')
  cur=\${words[\${#words[@]} - 1]}
  before=("\${words[@]:1:\${#words[@]} - 2}")
  case "\${before[*]} " in
    'help ')
      _vfio_next ''
      _vfio_words '' ${reasons.join(' ')}
      ;;
    'help '*) _vfio_next "\${before[*]:1}" ;;
${longestFirst.map(entry).join('\n')}
    *)
      _vfio_next "\${before[*]}"
      [[ \${#before[@]} == 0 ]] && _vfio_words '' help --help --version
      ;;
  esac
  [[ $skip != 0 ]] && _vfio_arguments
  _vfio_trim
}

# What an option of the command takes: sets action; fails where it takes none.
_vfio_value() {
  local each
  for each in "\${options[@]}"; do
    [[ $each == "$1="* ]] || continue
    action=\${each#*=}
    return 0
  done
  return 1
}

# Completes what stands after a command's name.
_vfio_arguments() {
  local -a left=()
  local each
  for word in "\${before[@]:skip}"; do
    if [[ -n $option ]]; then
      option=
    elif [[ -n $literal || $word != -?* ]]; then
      at=$((at + 1))
    elif [[ $word == -- ]]; then
      literal=1
    elif _vfio_value "$word"; then
      option=$word
    fi
  done
  if [[ -n $option ]]; then
    _vfio_value "$option" && _vfio_offer "$action" ''
  elif [[ -z $literal && $cur == --*=* ]]; then
    _vfio_value "\${cur%%=*}" && _vfio_offer "$action" "\${cur%%=*}="
  elif [[ -z $literal && $cur == -* ]]; then
    for each in "\${options[@]%%=*}"; do
      [[ " \${before[*]} " == *" $each "* ]] || left+=("$each")
    done
    _vfio_words '' "\${left[@]}"
  else
    [[ -n $more && $at -ge \${#arguments[@]} ]] && at=$((\${#arguments[@]} - 1))
    [[ $at -lt \${#arguments[@]} ]] && _vfio_offer "\${arguments[at]}" ''
  fi
}

# bash replaces only what stands after the last colon or equals sign, where it breaks words there.
_vfio_trim() {
  local breaks=
  [[ $COMP_WORDBREAKS == *:* ]] && breaks+=:
  [[ $COMP_WORDBREAKS == *=* ]] && breaks+==
  [[ -n $breaks && $cur == *[$breaks]* ]] || return 0
  local prefix=\${cur%"\${cur##*[$breaks]}"}
  COMPREPLY=("\${COMPREPLY[@]#"$prefix"}")
}
`;
}

function entry({ name, options, positionals, isLastRepeated }: OfferedCommand): string {
  const skip = name.split(' ').length;
  const all = options.map(({ name: option, takesValue, value }) =>
    quoted(takesValue ? `${option}=${actionOf(value)}` : option),
  );
  const places = positionals.map((offer) => quoted(actionOf(offer)));
  const more = isLastRepeated ? ' more=1' : '';
  return [
    `    ${quoted(`${name} `)}*)`,
    `      skip=${skip} arguments=(${places.join(' ')})${more}`,
    `      options=(${all.join(' ')})`,
    '      ;;',
  ].join('\n');
}

function actionOf(offer: Offer): string {
  if (offer === undefined) return 'nothing';
  if (offer.kind === 'words') return `words ${offer.words.join(' ')}`;
  return offer.kind === 'devices' ? `devices ${offer.which}` : offer.kind;
}
