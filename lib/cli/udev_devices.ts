import { findCdev, listGroups, type RootOptions, VfioError, type VfioFacts } from '../index.ts';
import { whyNone } from './groups.ts';

/**
 * What rules give nothing of, in sentences: devices without an IOMMU, whose nodes stay root's.
 *
 * @param devices - the ones that are named; undefined for all that there are
 * @throws VfioError `ERR_VFIO_UNSUPPORTED` for a bridge, of which there is never a node
 */
export async function notGiven(
  devices: readonly string[] | undefined,
  options: RootOptions = {},
): Promise<string[]> {
  if (devices === undefined) return await notGivenOfAll(options);
  const unconfined = devices.filter((device) => isUnconfined(device, options));
  if (unconfined.length === 0) return [];
  return [
    `no IOMMU confines ${unconfined.join(' and ')}: nodes of such devices (noiommu-…) stay root's, whatever these rules say, since whoever opens them reaches all memory, which takes CAP_SYS_RAWIO; once an IOMMU is switched on, the rules hold`,
  ];
}

async function notGivenOfAll(options: RootOptions): Promise<string[]> {
  try {
    const found = await listGroups(options);
    const why = whyNone(found);
    if (why === undefined) return [];
    // A driver of mediated devices confines them.
    const isMediated = found.some(({ isolation }) => isolation === 'emulated');
    const given = isMediated ? 'only mediated devices' : 'nothing';
    return [
      `${why}. Nodes of devices without an IOMMU (noiommu-…) stay root's, so that these rules give ${given} now`,
    ];
  } catch (error) {
    if (!(error instanceof VfioError)) throw error;
    return [`whether the kernel uses an IOMMU could not be looked at: ${error.message}`];
  }
}

function isUnconfined(device: string, options: RootOptions): boolean {
  try {
    return findCdev(device, options).name.startsWith('noiommu-');
  } catch (error) {
    if (!(error instanceof VfioError)) throw error;
    const { reason, facts } = error;
    if (reason === 'bridge') throw bridgeError(facts as VfioFacts['bridge']);
    const isCdevLess = reason === 'no-cdev' && (facts as VfioFacts['no-cdev']).noiommu;
    return isCdevLess || reason === 'no-iommu-group';
  }
}

function bridgeError({ address, behind }: VfioFacts['bridge']): VfioError {
  return new VfioError({
    code: 'ERR_VFIO_UNSUPPORTED',
    message: `${address} is a bridge or a port, which VFIO does not take: there is never a node of it to give`,
    device: address,
    hint:
      behind.length > 0
        ? `name what is behind it: ${behind.join(' or ')}`
        : 'ls /sys/bus/pci/devices shows what is on the bus',
  });
}
