/** What the addon has for maps that are made here and now. */
export interface MapsByMail {
  mapMail: () => ArrayBuffer;
  mapMemoryByMail: () => void;
  mapMemoryFileByMail: () => void;
  unmapByMail: () => void;
}

/** A BigInt, -errno, or undefined where the arguments were refused. */
type Answered = bigint | number | undefined;

type MapMemory = (
  iommufd: number,
  ioas: number,
  flags: number,
  memory: number,
  offset: bigint,
  length: bigint,
  iova: bigint,
) => Answered;

/** The calls, as functions that take arguments. */
export interface MapCalls {
  ioasMapMemorySync: MapMemory;
  ioasMapMemoryFileSync: MapMemory;
  ioasUnmapSync: (iommufd: number, ioas: number, iova: bigint, length: bigint) => Answered;
}

// Words of native/map_mail.h's MapMail, in arrays of their types.
const IOVA = 0;
const LENGTH = 1;
const OFFSET = 2;
const IOMMUFD = 6;
const IOAS = 7;
const FLAGS = 8;
const MEMORY = 9;
const STATUS = 10;

const done = 0;
const refused = 1;

/**
 * The addon's blocking maps of our memory, and its unmapping: their arguments and results go
 * through memory that both sides share, since in Node-API those cost several times what is done
 * with them. What is no argument for them is refused here, as the addon does elsewhere.
 */
export function mapCalls(native: MapsByMail): MapCalls {
  const { mapMemoryByMail, mapMemoryFileByMail, unmapByMail } = native;
  const mail = native.mapMail();
  const wide = new BigUint64Array(mail, 0, 3);
  const words = new Uint32Array(mail);
  const signed = new Int32Array(mail);

  const aim = (iommufd: number, ioas: number, iova: bigint, length: bigint): boolean => {
    if (!isWord(iommufd) || !isWord(ioas) || !isWide(iova) || !isWide(length)) return false;
    // What stays where Node-API fails, as while a worker ends, and the call does not come there.
    signed[STATUS] = refused;
    words[IOMMUFD] = iommufd;
    words[IOAS] = ioas;
    wide[IOVA] = iova;
    wide[LENGTH] = length;
    return true;
  };

  const answer = (at: number): Answered => {
    const status = signed[STATUS];
    if (status === done) return wide[at];
    return status === refused ? undefined : status;
  };

  const mapBy = (make: () => void): MapMemory => {
    return (iommufd, ioas, flags, memory, offset, length, iova) => {
      if (!isWord(flags) || !isWord(memory) || !isWide(offset)) return undefined;
      if (!aim(iommufd, ioas, iova, length)) return undefined;
      words[FLAGS] = flags;
      words[MEMORY] = memory;
      wide[OFFSET] = offset;
      make();
      return answer(IOVA);
    };
  };

  return {
    ioasMapMemorySync: mapBy(mapMemoryByMail),
    ioasMapMemoryFileSync: mapBy(mapMemoryFileByMail),
    ioasUnmapSync: (iommufd, ioas, iova, length) => {
      if (!aim(iommufd, ioas, iova, length)) return undefined;
      unmapByMail();
      return answer(LENGTH);
    },
  };
}

/** Whether 32 bits hold it. */
function isWord(value: unknown): boolean {
  return typeof value === 'number' && value >>> 0 === value;
}

/** Whether it is a BigInt that 64 bits hold. */
function isWide(value: unknown): boolean {
  return typeof value === 'bigint' && BigInt.asUintN(64, value) === value;
}
