// Numbers for people. Every one has its unit beside it or in the heading.

/** Three significant digits, never an exponent. */
export function number(value) {
  if (value === null || value === undefined) return '–';
  const size = Math.abs(value);
  if (size >= 100) return Math.round(value).toLocaleString('en', { useGrouping: size >= 10000 }).replaceAll(',', ' ');
  if (size >= 10) return value.toFixed(1);
  return size >= 1 || size === 0 ? value.toFixed(size === 0 ? 0 : 2) : value.toFixed(size >= 0.005 ? 2 : 0);
}

/** Mb/s as on the map: at most four characters. */
export function rate(value) {
  if (value === null || value === undefined) return '–';
  if (value >= 100) return String(Math.round(value));
  return value < 0.05 ? '0' : value.toFixed(1);
}

/** A fraction as per cent. */
export function percent(value) {
  if (value === null || value === undefined) return '–';
  if (value === 0) return '0 %';
  const shown = value * 100;
  return shown < 0.01 ? '< 0.01 %' : `${shown.toFixed(shown < 1 ? 2 : shown < 99.95 ? 1 : 0)} %`;
}

/** Bytes with a binary prefix. */
export function bytes(value) {
  if (value === null || value === undefined) return '–';
  if (value < 1024) return `${Math.round(value)} B`;
  const kib = value / 1024;
  return kib < 1024 ? `${kib.toFixed(kib < 10 ? 1 : 0)} KiB` : `${(kib / 1024).toFixed(1)} MiB`;
}

/** Seconds as 42 s, 3 min 20 s, 1 h 5 min. */
export function duration(seconds) {
  if (seconds === null || seconds === undefined) return '';
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

/** A moment (ISO 8601) as the reader's own clock has it. */
export function moment(iso) {
  if (!iso) return '';
  return new Date(iso).toLocaleString('en-GB', { dateStyle: 'medium', timeStyle: 'short' });
}

/** Factors in words, as `told` of orchestrator/experiments/result.py has them. */
export function factors(found) {
  return Object.entries(found)
    .map(([name, level]) => (Number.isInteger(level) && name.endsWith('s') ? `${level} ${name}` : `${name} ${level}`))
    .join(', ');
}

/** The sum of an object's numbers. */
export const sum = (found) => Object.values(found).reduce((total, value) => total + value, 0);
