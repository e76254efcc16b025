// SPDX-License-Identifier: MIT

internal import Platform

#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#endif

/// Every other rank's side of the rendezvous.
enum RendezvousGuest {
    /// Between two attempts to reach rank 0, which may not listen yet.
    private static let retryMicroseconds: UInt32 = 10_000

    /// Says hello at `place` and waits for the answer.
    ///
    /// A listener that goes away without an answer may be another job's, done with its own rendezvous: the next attempt
    /// tells.
    ///
    /// - Throws: `unavailable` if rank 0 cannot be reached, refuses, or does not answer in time.
    static func greet(
        _ hello: RendezvousHello, at place: HostPort, deadline: ContinuousClock.Instant
    ) throws(FathomError) -> RendezvousReply {
        var met = "nobody listens there"
        while ContinuousClock.now < deadline {
            if let socket = try Socket.connect(to: place, deadline: deadline) {
                switch try exchange(hello, over: socket, at: place, deadline: deadline) {
                case .refused(let reason): throw FathomError(.unavailable, "the group cannot form: \(reason)")
                case .otherJob: met = "another job's rank 0 listens there"
                case nil: met = "who listened there went away without an answer"
                case .welcome(let group, let machines, let addresses):
                    guard machines.count == hello.rankCount else {
                        throw FathomError(.badData, "a welcome of \(machines.count) ranks to \(hello.rankCount)")
                    }
                    return .welcome(group: group, machines: machines, addresses: addresses)
                }
            }
            usleep(retryMicroseconds)
        }
        throw FathomError(.unavailable, "rank \(hello.rank) could not reach rank 0 at \(place) in time: \(met)")
    }

    /// Nil if the other end goes away before it has answered.
    private static func exchange(
        _ hello: RendezvousHello, over socket: Socket, at place: HostPort, deadline: ContinuousClock.Instant
    ) throws(FathomError) -> RendezvousReply? {
        // If rank 0 has refused already, its answer may still be there to read.
        _ = socket.send(hello.bytes, deadline: deadline)
        var input: [UInt8] = []
        while true {
            if let payload = try RendezvousFrame.take(from: &input) { return try RendezvousReply(payload: payload) }
            // Rank 0 says itself when the time is over, and names who is missing.
            guard socket.wait(for: Int16(POLLIN), deadline: deadline + .seconds(2)) else {
                throw FathomError(.unavailable, "rank 0 at \(place) did not answer rank \(hello.rank) in time")
            }
            guard let bytes = socket.receive() else { return nil }
            input += bytes
        }
    }
}
