/** What the translator of one run leaves for the next ones, where the host keeps it. */

/** Translated code, by an i32 that is made of the guest's code. */
export interface RegionStore {
  /** Regions under this key, the latest first. */
  find(key: number): readonly Uint8Array[];
  /** Whether there may be any; asked for each block that runs some times. */
  has?(key: number): boolean;
  keep(key: number, region: Uint8Array): void;
}

/** Forms of instructions. */
export interface FormKeeper {
  /** Those of earlier runs, as they were kept. */
  forms?(): Uint8Array | undefined;
  /** @param forms tells those that are known, when the run ends */
  keepForms?(forms: () => Uint8Array): void;
}

export type TranslationStore = RegionStore & FormKeeper;
