/** The names of all trace points, for `-trace help` and the reference. A test compares them with the sources. */
export const TRACE_POINTS: readonly string[] = ['virtio.rng.fill'];
