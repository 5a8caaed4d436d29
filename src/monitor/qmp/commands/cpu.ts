/** Processors: which there are, which there could be, and what their models can. */
import { UsageError } from '../../../core/errors.ts';
import { buildCpuid, cpuFeatures, cpuModels } from '../../../x86/cpuid.ts';
import type { JsonObject, JsonValue } from '../../json/value.ts';
import { isObject } from '../../json/value.ts';
import { command } from '../command.ts';
import { QmpError } from '../error.ts';
import { any, array, bool, int, object, oneOf, str } from '../types.ts';

/** The processors of a PC that has one. */
const CPU_PATH = '/machine/unattached/device[0]';
const PROPS = object({ 'socket-id?': int, 'core-id?': int, 'thread-id?': int });
const PLACE = { 'core-id': 0, 'thread-id': 0, 'socket-id': 0 };

/** The model that all others are made of: nothing but what is switched on. */
const BASE = 'base';

/** Features that a model has with changes laid over it. @throws QmpError */
function features(name: string, props: JsonObject): ReadonlySet<string> {
  const base = name === BASE ? [] : undefined;
  const switched = (on: boolean): string[] =>
    Object.entries(props).flatMap(([key, value]) => {
      if (typeof value !== 'boolean')
        throw new QmpError(`Invalid parameter type for '${key}', expected: boolean`);
      return value === on ? [key] : [];
    });
  try {
    if (base !== undefined) return new Set(switched(true));
    return new Set(buildCpuid({ model: name, add: switched(true), remove: switched(false) }).features);
  } catch (error) {
    if (error instanceof UsageError) throw new QmpError(error.message.split(' (')[0]!);
    throw error;
  }
}

function expand(type: 'full' | 'static', model: JsonObject): JsonValue {
  const name = String(model.name);
  if (name !== BASE && !cpuModels().includes(name)) throw new QmpError(`CPU model '${name}' not found`);
  const has = features(name, isObject(model.props ?? null) ? (model.props as JsonObject) : {});
  const props = Object.fromEntries(cpuFeatures().map((feature) => [feature, has.has(feature)]));
  return { model: { name: type === 'static' ? BASE : name, props } };
}

const MODEL = object({ name: str, 'props?': any });

export const cpuCommands = [
  command({
    name: 'query-cpus-fast',
    help: 'The processors',
    returns: array(
      object({
        'cpu-index': int,
        'qom-path': str,
        'thread-id': int,
        'props?': PROPS,
        target: oneOf('x86_64'),
      }),
    ),
    run: (_, { os }) => [
      { 'thread-id': os.threadId ?? 0, props: PLACE, 'qom-path': CPU_PATH, 'cpu-index': 0, target: 'x86_64' },
    ],
  }),
  command({
    name: 'query-hotpluggable-cpus',
    help: 'Places for processors, and which of them are taken',
    returns: array(object({ type: str, 'vcpus-count': int, props: PROPS, 'qom-path?': str })),
    run: (_, { machine }) => [
      {
        props: PLACE,
        'vcpus-count': 1,
        'qom-path': CPU_PATH,
        type: `${machine.config.cpu.model}-x86_64-cpu`,
      },
    ],
  }),
  command({
    name: 'query-cpu-definitions',
    help: 'Processor models',
    returns: array(
      object({
        name: str,
        typename: str,
        'migration-safe?': bool,
        static: bool,
        deprecated: bool,
        'unavailable-features?': array(str),
        'alias-of?': str,
      }),
    ),
    run: () =>
      [...cpuModels(), BASE].map((name) => ({
        name,
        typename: `${name}-x86_64-cpu`,
        'unavailable-features': [],
        static: name === BASE,
        'migration-safe': name !== 'max',
        deprecated: false,
      })),
  }),
  command({
    name: 'query-cpu-model-expansion',
    help: 'The features of a processor model, with changes laid over it',
    arguments: { type: oneOf('static', 'full'), model: MODEL },
    returns: object({ model: object({ name: str, props: any }) }),
    run: ({ type, model }) => expand(type, model as JsonObject),
  }),
];
