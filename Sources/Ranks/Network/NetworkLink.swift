// SPDX-License-Identifier: MIT

internal import Platform

/// A way to write to the memory of ranks that is not mapped here.
///
/// What goes to one rank becomes visible there in the order of the calls. Nothing is reported when the other end is
/// gone: `loss(of:)` knows.
protocol NetworkLink: AnyObject, Sendable {
    /// What the others need to connect.
    var address: [UInt8] { get }

    /// Connects to all ranks, whose addresses these are.
    ///
    /// - Parameters:
    ///   - heartbeat: a number of each rank that rises while it lives.
    ///   - changed: called whenever something may have come.
    /// - Throws: `unavailable` naming a rank that cannot be reached.
    func connect(
        _ addresses: [[UInt8]], rank: Int, heartbeat: @escaping @Sendable (Int) -> UInt64,
        changed: @escaping @Sendable () -> Void
    ) throws(FathomError)

    /// Lets the others write to memory, which stays as long as the link: late writes find it. Its number, the same at
    /// all ranks that register in the same order.
    func register(_ segment: SharedSegment) -> Int

    /// Writes bytes, which may be used again at once.
    func put(_ bytes: UnsafeRawBufferPointer, to rank: Int, memory: Int, at offset: Int)

    /// Sets a word of 64 bits, after everything before.
    func set(_ value: UInt64, to rank: Int, memory: Int, at offset: Int)

    /// Adds to a word of 64 bits, after everything before.
    func add(_ value: UInt64, to rank: Int, memory: Int, at offset: Int)

    /// Sets a word of all other ranks soon, without waiting for anything.
    func announce(_ value: UInt64, memory: Int, at offset: Int)

    /// Why nothing more can come from a rank, as the rest of a sentence; nil as far as the network knows.
    func loss(of rank: Int) -> String?

    /// Sends nothing more to a rank, and takes nothing from it.
    func expel(_ rank: Int)

    /// Waits until what was sent has arrived, at most a moment, and hangs up.
    func disconnect()
}
