/** From `-cpu` and the machine's RAM to a processor; hosts call it with the compiled runtime. */
import { buildCpuid } from '../x86/cpuid.ts';
import { Processor, type ProcessorOptions } from '../x86/processor.ts';
import type { CpuRequest } from './host.ts';
import { ramRegions } from './ram.ts';

/**
 * @param runtimeCode bytes of runtime.wasm
 * @param handlersCode bytes of handlers.wasm, if they were built from the same sources
 * @param compile compiles translated code elsewhere than on the machine's thread
 */
export function createProcessor(
  runtimeCode: Uint8Array,
  handlersCode: Uint8Array | undefined,
  request: CpuRequest,
  compile?: ProcessorOptions['compile'],
): Processor {
  const { model, add, remove } = request.cpu;
  const cpuid = buildCpuid({ model, add, remove, apicId: 0 });
  return new Processor({
    runtimeCode,
    handlersCode,
    ram: ramRegions(request.ramBelow4G, request.ramAbove4G),
    cpuid,
    bus: request.bus,
    tracer: request.tracer,
    countCalls: request.count,
    compile,
  });
}
