/** Where RAM is in guest-physical space: all of it but the video hole below 1 MiB, and the hole below 4 GiB. */

/** A PC's adapters answer at A0000h to BFFFFh. */
export const VIDEO_HOLE = { base: 0xa0000, end: 0xc0000 } as const;

/** Runs of RAM for the processor. All values are bytes and multiples of 4096. */
export function ramRegions(below4G: number, above4G: number): { gpa: number; size: number }[] {
  const regions = [
    { gpa: 0, size: Math.min(below4G, VIDEO_HOLE.base) },
    { gpa: VIDEO_HOLE.end, size: below4G - VIDEO_HOLE.end },
    { gpa: 2 ** 32, size: above4G },
  ];
  return regions.filter(({ size }) => size > 0);
}
