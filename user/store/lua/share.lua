-- SPDX-License-Identifier: BSD-2-Clause
-- share

return run()
