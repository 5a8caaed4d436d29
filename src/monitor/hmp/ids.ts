/** `1af4:1000`: vendor and device as four hexadecimal digits each. */
export const formatIds = (vendor: number, device: number): string =>
  [vendor, device].map((id) => id.toString(16).padStart(4, '0')).join(':');
