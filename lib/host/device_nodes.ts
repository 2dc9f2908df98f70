import { VfioError } from '../core/errors.ts';
import type { NodeLocation, SysfsDevice } from '../core/location.ts';
import { findCdev, findGroup } from '../locate/find_cdev.ts';
import { hiddenClasses } from '../locate/sysfs.ts';
import { type Finding, look, type Place, type Seen } from './finding.ts';
import { accessFindings, compare, nodeAt } from './node_findings.ts';

const finders = { 'cdev-node': findCdev, 'group-node': findGroup };

type NodeId = keyof typeof finders;

/** What was found of one of a device's nodes. */
interface FoundNode {
  findings: Finding[];
  /** Where it is, and is the device's. */
  path?: string;
  /** There is none here, or the kernel makes none: the other may be enough. */
  absent?: true;
}

/** A device's nodes: that of its cdev and that of its group, one of which is enough. */
export function deviceNodeFindings(device: SysfsDevice, place: Place): Finding[] {
  const nodes = (['cdev-node', 'group-node'] as const).map((id) => nodeOf(id, device, place));
  const isEnough = nodes.some(({ path }) => path !== undefined);
  const judged = nodes.flatMap(({ findings, absent }) =>
    absent ? findings.map((each) => withStatus(each, isEnough ? 'warning' : 'bad')) : findings,
  );
  const paths = nodes.flatMap(({ path }) => path ?? []);
  return [...judged, ...paths.flatMap((path) => accessFindings(path, place))];
}

function withStatus(found: Finding, status: Finding['status']): Finding {
  return { ...found, status };
}

/** Of a device without a VFIO driver nothing is said: the finding of its driver does. */
function nodeOf(id: NodeId, device: SysfsDevice, place: Place): FoundNode {
  const more: Omit<FoundNode, 'findings'> = {};
  const findings = look(id, device.address, (): Seen | undefined => {
    const node = locate(id, device, place);
    if (node === undefined) return undefined;
    if (node === 'none') {
      more.absent = true;
      return ['bad', `the kernel makes no node of its ${id === 'cdev-node' ? 'cdev' : 'group'}`];
    }
    const found = nodeAt(node.path, place);
    if ('shut' in found) return found.shut;
    const seen = compare(node.path, `${node.major}:${node.minor}`, found.numbers);
    if (seen[0] === 'ok') more.path = node.path;
    if (found.numbers === undefined) more.absent = true;
    return seen;
  });
  return { findings, ...more };
}

function locate(
  id: NodeId,
  device: SysfsDevice,
  { roots }: Place,
): NodeLocation | 'none' | undefined {
  try {
    return finders[id](device, roots);
  } catch (error) {
    if (!(error instanceof VfioError)) throw error;
    if (error.code === 'ERR_VFIO_NOT_BOUND_TO_VFIO') return undefined;
    if (error.code === 'ERR_VFIO_NO_CDEV') return 'none';
    if (error.code === 'ERR_VFIO_NO_GROUP' && !hiddenClasses(roots)) return 'none';
    throw error;
  }
}
