/** `-cpu help`: the models and features that there are. */

export function CPU_HELP(): string {
  return 'Available CPUs:\nx86 max';
}
