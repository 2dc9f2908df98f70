// What `npm run docs` and `npm run lint:docs` add to typedoc: blocking forms get what their promise
// forms say, and it is an error where somebody who reads the reference would miss something.
import { Application, Converter, Reflection, ReflectionKind } from 'typedoc';
import { throwsNothing } from './throws_nothing.mjs';

/** Interfaces whose members have the names of fields in a specification, which their comment names. */
const fieldsOfSpecification = /^(Pci[A-Z]\w+|VtdInfo|ArmSmmuv3Info|AmdInfo|Tegra241CmdqvInfo)$/;

/** What of the PCI interfaces are not fields. */
const documentedAll = ['PciConfig', 'PciHeader', 'PciRom', 'PciFunction'];

const signatureKinds =
  ReflectionKind.CallSignature |
  ReflectionKind.ConstructorSignature |
  ReflectionKind.GetSignature |
  ReflectionKind.SetSignature;

export function load(app) {
  // After the links are resolved.
  app.converter.on(
    Converter.EVENT_RESOLVE_END,
    ({ project }) => completeSignatures(project),
    -1000,
  );
  app.on(Application.EVENT_VALIDATE_PROJECT, (project) => {
    for (const problems of [undocumentedProperties, undocumentedParameters, untoldThrows]) {
      for (const problem of problems(project)) app.logger.validationWarning(problem);
    }
  });
}

/** Setters say what their getters do; who says of whom it is a form says what that does. */
function completeSignatures(project) {
  const signatures = signaturesOf(project);
  for (const signature of signatures) {
    const { parent } = signature;
    if (signature.kind === ReflectionKind.SetSignature) {
      signature.comment ??= parent.getSignature?.comment?.clone();
    }
  }
  // Once more for a form of a form.
  for (let round = 0; round < 3; round++) signatures.forEach(completeForm);
}

/** What stands before the link to another of which this is a form. */
const forms = /(?:\bblocking form of|\blike|\bSee|\bas|\bcalls:|`(?:await )?using`:|\bWhat)\s*$/;

function completeForm(signature) {
  const { comment } = signature;
  const other = comment && signatureNamedBy(comment, signature);
  if (!other?.comment) return;
  const has = (tag) => comment.blockTags.some((block) => block.tag === tag);
  const added = other.comment.clone().blockTags.filter(({ tag, content }) => {
    if (tag === '@throws') return !has('@throws') && !(isBlocking(signature) && ofSignal(content));
    return tag === '@returns' && !has('@returns') && isBlocking(signature);
  });
  comment.blockTags.push(...added);
  for (const parameter of signature.parameters ?? []) {
    const theirs = other.parameters?.find(({ name }) => name === parameter.name);
    parameter.comment ??= theirs?.comment?.clone();
    if (theirs !== undefined) told.add(parameter);
  }
}

/** Parameters of which another form says what they are, by `@param` or in its summary. */
const told = new WeakSet();

/** What a link names right behind the words that make this a form of it. */
function signatureNamedBy(comment, signature) {
  const { summary } = comment;
  let before = '';
  const link = summary.find(({ tag, target, text }) => {
    const isIt = tag === '@link' && target instanceof Reflection && forms.test(before);
    before += text;
    return isIt;
  });
  if (link === undefined) return undefined;
  const { target } = link;
  const others = target.signatures ?? [target.getSignature ?? target];
  const index = signature.parent.signatures?.indexOf(signature) ?? 0;
  return others[index] ?? others[0];
}

function isBlocking({ name }) {
  return name.endsWith('Sync');
}

function ofSignal(content) {
  return /^\s*(the signal's reason|the reason of a signal)/.test(textOf(content));
}

function undocumentedProperties(project) {
  return project
    .getReflectionsByKind(ReflectionKind.Property)
    .filter((property) => !property.hasComment() && !property.signatures)
    .filter((property) => !isNamedBySpecification(property) && !isInLiteral(property))
    .map((property) => `${nameOf(property)} has no comment`);
}

function isNamedBySpecification({ parent }) {
  return fieldsOfSpecification.test(parent.name) && !documentedAll.includes(parent.name);
}

/** Members of a type that is written out where it is used are told there. */
function isInLiteral(property) {
  return property.parent.kindOf(ReflectionKind.TypeLiteral);
}

/** A number has a unit, and `true` is no word: both are told by `@param`, or in the summary. */
function undocumentedParameters(project) {
  return signaturesOf(project).flatMap((signature) => {
    if (signature.kind === ReflectionKind.SetSignature) return [];
    const said = textOf(signature.comment?.summary);
    return (signature.parameters ?? [])
      .filter(({ type }) => /^(number|bigint|boolean)\b/.test(String(type)))
      .filter((parameter) => !parameter.comment && !told.has(parameter))
      .filter(({ name }) => !said.includes(`\`${name}\``))
      .map(({ name }) => `${nameOf(signature)} does not say what its parameter ${name} is`);
  });
}

function untoldThrows(project) {
  const silent = signaturesOf(project)
    .filter(({ comment }) => !comment?.blockTags.some(({ tag }) => tag === '@throws'))
    .map(nameOf);
  const known = new Set(throwsNothing);
  const unknown = [...new Set(silent)].filter((name) => !known.has(name));
  const stale = throwsNothing.filter((name) => !silent.includes(name));
  return [
    ...unknown.map((name) => `${name} has no @throws and is not among what throws nothing`),
    ...stale.map(
      (name) => `${name} is among what throws nothing; it is not there or has a @throws`,
    ),
  ];
}

/** Those of the package's own: what classes have of Node's is in Node's documentation. */
function signaturesOf(project) {
  return project
    .getReflectionsByKind(signatureKinds)
    .filter((signature) => !signature.inheritedFrom && !isInType(signature))
    .filter((signature) => !isDefaultConstructor(signature))
    .filter((signature) => !signature.sources?.[0]?.fullFileName.includes('node_modules'));
}

/** A class that has none written has one without parameters. */
function isDefaultConstructor({ kind, parameters = [] }) {
  return kind === ReflectionKind.ConstructorSignature && parameters.length === 0;
}

function isInType(reflection) {
  for (let at = reflection.parent; at; at = at.parent) {
    if (at.kindOf(ReflectionKind.TypeLiteral)) return true;
  }
  return false;
}

function textOf(parts = []) {
  return parts.map(({ text }) => text).join('');
}

/** `vfio.VfioDevice.open`, of a constructor `vfio.DmaPool.constructor`. */
function nameOf(reflection) {
  const named = reflection.kindOf(signatureKinds) ? reflection.parent : reflection;
  return named.getFullName();
}
