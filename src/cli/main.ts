#!/usr/bin/env node
/** Starts the program `paravane`: all of it is in program.ts, which V8 need not compile each time. */
import { keepCompiled } from '../host/node/compile-cache.ts';

keepCompiled();
await import('./program.ts');
