/** The first hundred seeds. The next hundred are in a file of their own, for a second processor. */
import { seedSuite } from "./test/seed-suite.js";

seedSuite(1, 100);
