// SPDX-License-Identifier: MIT

import Ranks
import Synchronization

/// The group whose first rank this process is.
///
/// Objects that live when a process ends are not torn down, so the command line's end says that this rank leaves: the
/// workers can tell it from a process that was killed.
enum LedGroup {
    private static let current = Mutex<RankGroup?>(nil)

    /// Notes a group that is to be left at the end.
    static func keep(_ group: RankGroup) { current.withLock { $0 = group } }

    /// Leaves it, if there is one.
    static func leave() { current.withLock { $0?.leave() } }
}
