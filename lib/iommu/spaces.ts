import { ContainerSpace } from '../backend/container_space.ts';
import { Ioas } from './ioas.ts';

/** Whether it is one of ours, and not only called so. */
export function isAddressSpace(value: unknown): value is Ioas | ContainerSpace {
  return Ioas.isIoas(value) || ContainerSpace.isContainerSpace(value);
}
