/** From `-cpu` and the machine's RAM to a processor; hosts call it with the compiled runtime. */
import type { TranslationStore } from '../core/translation-store.ts';
import { buildCpuid } from '../x86/cpuid.ts';
import { Processor, type ProcessorOptions } from '../x86/processor.ts';
import type { CpuRequest } from './host.ts';
import { ramRegions } from './ram.ts';

export interface TranslatorHost {
  readonly compile?: ProcessorOptions['compile'];
  /** Makes the store of a kind of processor. */
  readonly store?: ((kind: string) => TranslationStore | undefined) | undefined;
}

/**
 * @param runtimeCode bytes of runtime.wasm
 * @param handlersCode bytes of handlers.wasm, if they were built from the same sources
 * @param elsewhere what the host does for the translator: compiles code elsewhere than on the machine's thread, and keeps
 *   regions for later runs of the same build of Paravane on a processor of the same kind
 */
export function createProcessor(
  runtimeCode: Uint8Array,
  handlersCode: Uint8Array | undefined,
  request: CpuRequest,
  elsewhere: TranslatorHost = {},
): Processor {
  const { model, add, remove } = request.cpu;
  const cpuid = buildCpuid({ model, add, remove, apicId: 0 });
  // where regions end decides where interrupts come: what is ready when may not depend on threads and earlier runs
  const { compile, store } = request.deterministic ? {} : elsewhere;
  return new Processor({
    runtimeCode,
    handlersCode,
    ram: ramRegions(request.ramBelow4G, request.ramAbove4G),
    cpuid,
    bus: request.bus,
    tracer: request.tracer,
    countCalls: request.count,
    compile,
    cacheBytes: request.translationBytes,
    store: request.keepTranslations ? store?.(kindOf(cpuid.features, request.count)) : undefined,
  });
}

/** Names what translated code depends on beside the guest's code: features decide what an encoding means. */
function kindOf(features: readonly string[], count: boolean): string {
  let hash = 0n;
  for (const char of `${features.join()} ${count}`)
    hash = BigInt.asUintN(64, (hash ^ BigInt(char.charCodeAt(0))) * 0x100000001b3n + 1n);
  return hash.toString(16);
}
