#!/usr/bin/env node
/** The program `paravane`. */
import { cliProcess } from '../host/node/cli-process.ts';
import { nodeMachineHost } from '../host/node/machine-host.ts';
import { cli } from './cli.ts';

cliProcess.exit(await cli(cliProcess, nodeMachineHost));
