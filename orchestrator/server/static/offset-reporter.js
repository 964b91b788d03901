// @ts-check
/** Report of the measured lip-sync offset to the service, once a second. */

/** @import { LipSyncClient } from "./client.js" */
/** @import { Stats } from "./stats.js" */

const REPORT_EVERY_MS = 1000;

/**
 * Bandwidth of a link that the browser knows to be slow; its figures for other links are rough.
 * @returns {number | undefined} kbit/s
 */
function slowLinkKbps() {
  // The Network Information API, which only some browsers have.
  const { connection } = /** @type {{connection?: {effectiveType: string, downlink: number}}} */ (
    navigator
  );
  if (!connection || connection.effectiveType === "4g") return undefined;
  return connection.downlink > 0 ? connection.downlink * 1000 : undefined;
}

/** Sends `client_report` while a turn lasts. */
export class OffsetReporter {
  /**
   * @param {LipSyncClient} client
   * @param {Stats} stats
   */
  constructor(client, stats) {
    this._client = client;
    this._stats = stats;
    this._reportedAt = 0;
  }

  /** A turn begins: its first report is due in a second. */
  restart() {
    this._reportedAt = performance.now();
  }

  /** Report where it is due and a frame was drawn; call it once per screen refresh. */
  tick() {
    if (performance.now() - this._reportedAt < REPORT_EVERY_MS) return;
    this._reportedAt = performance.now();
    const avOffsetMs = this._stats.takeOffsetReport();
    if (avOffsetMs === null) return;
    this._stats.turn.reports += 1;
    this._client.report({ avOffsetMs, bandwidthKbps: slowLinkKbps() });
  }
}
