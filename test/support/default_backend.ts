import { openByBackend } from './backend.ts';

// Loaded before the tests that run over every backend.
openByBackend();
