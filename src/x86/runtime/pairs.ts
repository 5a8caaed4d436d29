// Pairs of instructions that have one handler for both (interpreter/pairs.ts tells which): finds them in a decoded block.
import {
  COUNTED_HANDLERS,
  PAIRED_FORMS,
  PAIR_HANDLERS,
  PAIR_NUMBERS,
  REC_BYTES,
  REC_HANDLER,
} from '../layout';

/** The handler of two records in a row, or 0. */
function pairOf(record: i32): i32 {
  const first = load<i32>(record, REC_HANDLER);
  const second = load<i32>(record, REC_BYTES + REC_HANDLER);
  if (first >= COUNTED_HANDLERS || second >= COUNTED_HANDLERS) return 0;
  const row = PAIR_HANDLERS + <i32>load<u8>(PAIR_NUMBERS + first) * (4 * PAIRED_FORMS);
  return load<i32>(row + 4 * <i32>load<u8>(PAIR_NUMBERS + second));
}

/** Gives pairs among the records from `first` to `end` their handlers; the last two first: what branches gains most. */
export function joinPairs(first: i32, end: i32): void {
  let last = end - REC_BYTES;
  if (last - REC_BYTES >= first) {
    const pair = pairOf(last - REC_BYTES);
    if (pair != 0) {
      last -= REC_BYTES;
      store<i32>(last, pair, REC_HANDLER);
      last -= REC_BYTES;
    }
  }
  let record = first;
  while (record < last) {
    const pair = pairOf(record);
    if (pair != 0) {
      store<i32>(record, pair, REC_HANDLER);
      record += REC_BYTES;
    }
    record += REC_BYTES;
  }
}
