export { walk, type Row, type WalkOptions } from "./walk.js";
export { startDemo, type Demo } from "./demo.js";
export * as demoJobs from "./demo-jobs.js";
