// @ts-check
// Types of the data from the server, which batches/transcripts/transcript_page.py makes.

/**
 * @typedef {object} Line
 * @property {string} id
 * @property {number} segment Lines are in order of segment, start and ID.
 * @property {number} start ms
 * @property {number} end ms
 * @property {string} text
 * @property {string} label of the speaker; empty where speakers were not asked for
 * @property {string} words "offset,length,start,end[,1]" joined by spaces; 1: unsure
 * @property {string} tag changes with the line
 * @property {string} [recognised] only where the text was corrected
 * @property {string[]} [flags]
 *
 * @typedef {object} Speaker
 * @property {string} label
 * @property {string} name
 * @property {string} given by a person
 * @property {number} colour
 * @property {number} share per cent of the time
 *
 * @typedef {object} Answer
 * @property {number} version
 * @property {boolean} whole whether `lines` has all of them
 * @property {Line[]} lines
 * @property {string[]} gone
 * @property {Speaker[]} speakers
 * @property {number} duration ms
 * @property {number[][]} unrecognised start and end of each stretch, ms
 * @property {number[]} loudness 0..100 at equal distances; empty where it was not measured
 * @property {boolean} undo
 * @property {boolean} redo
 * @property {boolean} publish
 *
 * @typedef {{kind: string} & Record<string, unknown>} Change
 * @typedef {"saved" | "waiting" | "saving" | "failed" | "refused" | "signed_out"} SaveState
 */

export {};
