// SPDX-License-Identifier: MIT

internal import Ranks

/// A region as some ranks of its group see it: ranks are counted among the members.
struct MemberRegion: Sendable {
    let region: SymmetricRegion
    /// Ranks of the group, ascending.
    var members: [Int]

    /// This rank's part.
    var local: UnsafeMutableRawPointer { region.local }

    /// A member's part, where the transport maps it.
    func peer(_ member: Int) -> UnsafeMutableRawPointer? { region.peer(members[member]) }

    /// See `SymmetricRegion.put`.
    func put(_ bytes: UnsafeRawBufferPointer, to member: Int, at offset: Int) {
        region.put(bytes, to: members[member], at: offset)
    }

    /// See `SymmetricRegion.signal`.
    func signal(_ member: Int, _ word: Int, _ value: UInt64, counts: Bool = false) {
        region.signal(members[member], word, value, counts: counts)
    }

    /// One of this rank's signals.
    func value(_ word: Int) -> UInt64 { region.value(word) }
}
