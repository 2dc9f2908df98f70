import type { VfioError } from '../core/errors.ts';
import type { Cause } from '../core/reasons.ts';

/** The reasons that have no facts of their own. */
type Plain = 'not-a-vm' | 'vm-has-vfio' | 'vm-has-device' | 'vm-lacks-device' | 'not-for-kvm';

type Meanings = Readonly<Partial<Record<string, Plain>>>;

/** Of KVM_CREATE_DEVICE with KVM_DEV_TYPE_VFIO (virt/kvm/kvm_main.c, vfio.c). */
const ofCreating: Meanings = { ENOTTY: 'not-a-vm', EINVAL: 'not-a-vm', EBUSY: 'vm-has-vfio' };

/** Of KVM_SET_DEVICE_ATTR with KVM_DEV_VFIO_FILE (virt/kvm/vfio.c). */
const ofFiles: Meanings = {
  EEXIST: 'vm-has-device',
  ENOENT: 'vm-lacks-device',
  EINVAL: 'not-for-kvm',
};

/** Why KVM refused something about VFIO. */
export function kvmCause({ code, request }: VfioError): Cause | undefined {
  if (code === 'EIO') return { reason: 'vm-of-other-process', certainty: 'likely', facts: {} };
  const isCreating = request === 'KVM_CREATE_DEVICE';
  if (isCreating && code === 'ENODEV') {
    const release = process.getBuiltinModule('node:os').release();
    return { reason: 'kvm-without-vfio', certainty: 'certain', facts: { release } };
  }
  const reason = (isCreating ? ofCreating : ofFiles)[code];
  return reason && { reason, certainty: 'certain', facts: {} };
}
