// From measurements to a table: medians over the rounds, ratios, geometric means.

export const median = (list) => {
  const sorted = list.filter((value) => Number.isFinite(value)).sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  if (sorted.length === 0) return Number.NaN;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
};

export const geometricMean = (list) => {
  const values = list.filter((value) => Number.isFinite(value) && value > 0);
  return Math.exp(values.reduce((sum, value) => sum + Math.log(value), 0) / values.length);
};

/**
 * Speeds are ratios: how many times as fast as the other we are (above 1: faster), by the guest's clock and by the
 * processor time of the two processes, which other load on the host disturbs less.
 * @param runs for each machine, for each program: a list of { guest, host, cpu, sum, error }
 */
export function summarize(programs, runs) {
  const rows = programs.map(({ name, group }) => {
    const row = { name, group };
    for (const [machine, results] of Object.entries(runs)) {
      const list = results.get(name) ?? [];
      const good = list.filter((result) => result.error === undefined && Number.isFinite(result.guest));
      row[machine] = {
        guest: median(good.map((result) => result.guest)),
        host: median(good.map((result) => result.host)),
        cpu: median(good.map((result) => result.cpu)),
        rounds: list,
        error: list.find((result) => result.error !== undefined)?.error,
      };
    }
    const sums = new Set(
      Object.values(runs).flatMap((results) => (results.get(name) ?? []).map((result) => result.sum)),
    );
    sums.delete(undefined);
    row.sums = [...sums];
    for (const peer of ['qemu', 'v86'])
      if (row[peer] !== undefined && row.paravane !== undefined) {
        row[`vs_${peer}`] = row[peer].guest / row.paravane.guest;
        row[`vs_${peer}_cpu`] = row[peer].cpu / row.paravane.cpu;
      }
    return row;
  });
  const means = {};
  for (const group of new Set(programs.map((program) => program.group))) {
    const inGroup = rows.filter((row) => row.group === group);
    means[group] = {};
    for (const key of ['vs_qemu', 'vs_qemu_cpu', 'vs_v86', 'vs_v86_cpu'])
      means[group][key] = geometricMean(inGroup.map((row) => row[key] ?? Number.NaN));
  }
  return { rows, means };
}

const seconds = (value) => (Number.isFinite(value) ? value.toFixed(3) : '–');
const ratio = (value) => (Number.isFinite(value) ? value.toFixed(2) : '–');

/** The same for docs/performance.md. */
export function markdown({ rows, means }, boots) {
  const row = (...cells) => `| ${cells.join(' | ')} |`;
  const lines = [];
  for (const [group, mean] of Object.entries(means)) {
    lines.push(
      row(group, 'Paravane, s', 'QEMU TCG, s', 'v86, s', '× QEMU', '× QEMU, CPU time', '× v86'),
      row('---', '---:', '---:', '---:', '---:', '---:', '---:'),
    );
    for (const one of rows.filter((candidate) => candidate.group === group))
      lines.push(
        row(
          one.name,
          ...['paravane', 'qemu', 'v86'].map((machine) => seconds(one[machine]?.guest)),
          ...['vs_qemu', 'vs_qemu_cpu', 'vs_v86'].map((key) => ratio(one[key])),
        ),
      );
    const cells = ['vs_qemu', 'vs_qemu_cpu', 'vs_v86'].map((key) => `**${ratio(mean[key])}**`);
    lines.push(row('**geometric mean**', '', '', '', ...cells), '');
  }
  const machines = Object.keys(boots);
  if (machines.length > 0) {
    lines.push(row('boot and rest', ...machines), row('---', ...machines.map(() => '---:')));
    for (const name of new Set(Object.values(boots).flatMap((list) => list.flatMap(Object.keys))))
      lines.push(
        row(
          name,
          ...machines.map((machine) =>
            ratio(median(boots[machine].map((figures) => figures[name] ?? Number.NaN))),
          ),
        ),
      );
    lines.push('');
  }
  return lines.join('\n');
}

/** Figures of boots: a list for each machine, as medians. */
export function bootTable(boots) {
  const machines = Object.keys(boots);
  const names = [...new Set(Object.values(boots).flatMap((list) => list.flatMap(Object.keys)))];
  const lines = [['boot'.padEnd(18), ...machines.map((machine) => machine.padStart(10))].join(' ')];
  for (const name of names) {
    const values = machines.map((machine) =>
      median(boots[machine].map((figures) => figures[name] ?? Number.NaN)),
    );
    const texts = values.map((value) => (Number.isFinite(value) ? value.toFixed(2) : '–').padStart(10));
    lines.push([name.padEnd(18), ...texts].join(' '));
  }
  return lines.join('\n');
}

/** The table as text; within each group the slowest against QEMU first when `worstFirst`. */
export function table({ rows, means }, { worstFirst = false } = {}) {
  const lines = [];
  const cells = (...texts) =>
    texts.map((text, i) => (i === 0 ? String(text).padEnd(14) : String(text).padStart(9))).join(' ');
  for (const [group, mean] of Object.entries(means)) {
    const inGroup = rows.filter((row) => row.group === group);
    if (worstFirst) inGroup.sort((a, b) => (a.vs_qemu ?? 0) - (b.vs_qemu ?? 0));
    lines.push(cells(group, 'paravane', 'qemu', 'v86', '×qemu', '×qemu cpu', '×v86'));
    for (const row of inGroup) {
      const remarks = [];
      if (row.sums.length > 1) remarks.push(`results differ: ${row.sums.join(' ')}`);
      for (const machine of ['paravane', 'qemu', 'v86'])
        if (row[machine]?.error !== undefined) remarks.push(`${machine}: ${row[machine].error}`);
      lines.push(
        cells(
          row.name,
          seconds(row.paravane?.guest),
          seconds(row.qemu?.guest),
          seconds(row.v86?.guest),
          ratio(row.vs_qemu),
          ratio(row.vs_qemu_cpu),
          ratio(row.vs_v86),
        ) + (remarks.length > 0 ? `  ${remarks.join('; ')}` : ''),
      );
    }
    lines.push(
      cells('mean', '', '', '', ratio(mean.vs_qemu), ratio(mean.vs_qemu_cpu), ratio(mean.vs_v86)),
      '',
    );
  }
  return lines.join('\n');
}
