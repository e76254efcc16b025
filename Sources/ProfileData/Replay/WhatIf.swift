// SPDX-License-Identifier: MIT

public import Platform

/// A question to a trace: how long it would take were some of its kernels others.
public struct WhatIf: Sendable {
    /// Multiprocessors for computation and for communication.
    public struct Split: Sendable, Equatable {
        public var compute: Int
        public var communication: Int

        /// A split of at least one multiprocessor each.
        public init(compute: Int, communication: Int) {
            self.compute = compute
            self.communication = communication
        }
    }

    /// Multiprocessors beyond which transports get no faster: 24 fill the links (DeepEP's published measurements).
    public static let saturatingCommunication = 24

    /// How many times faster each class becomes; below one slower.
    public var speedups: [KernelClass: Double] = [:]
    /// Kernels that only exchange counts and wait take no time.
    public var dropsNotify = false
    /// Another split; nil keeps the trace's.
    public var split: Split?

    /// The question that changes nothing.
    public init() {}

    /// The split that a trace shows: the transports' blocks, and the other multiprocessors of the device. Nil where it
    /// does not say.
    public static func split(of trace: Trace) -> Split? {
        var counts: [Int32: Int] = [:]
        for operation in trace.operations
        where (operation.kernelClass == .dispatch || operation.kernelClass == .combine) && operation.grid.x > 0 {
            counts[operation.grid.x, default: 0] += 1
        }
        guard let blocks = counts.max(by: { ($0.value, $1.key) < ($1.value, $0.key) })?.key,
            let all = trace.header.multiprocessors, all > Int(blocks)
        else { return nil }
        return Split(compute: all - Int(blocks), communication: Int(blocks))
    }

    /// How long an operation takes, given the split of its trace.
    ///
    /// Matrix products and attention go with their multiprocessors; dispatch and combine too, up to
    /// `saturatingCommunication`. Casts, norms and the like are bound by memory and stay as they are.
    func duration(_ operation: Trace.Operation, before: Split?) -> Int64 {
        if dropsNotify, operation.kernelClass == .notify { return 0 }
        var scale = 1 / (speedups[operation.kernelClass] ?? 1)
        if let split, let before {
            switch operation.kernelClass {
            case .weightGradientGemm, .groupedGemm, .denseGemm, .attentionForward, .attentionBackward:
                scale *= Double(before.compute) / Double(split.compute)
            case .dispatch, .combine:
                let limit = Self.saturatingCommunication
                scale *= Double(min(before.communication, limit)) / Double(min(split.communication, limit))
            default: break
            }
        }
        guard scale != 1 else { return operation.duration }
        return Int64((Double(operation.duration) * scale).rounded())
    }

    /// The answer.
    public struct Answer: Sendable {
        public var before: Replay.Outcome
        public var after: Replay.Outcome
        /// Waits found by calls and by times, and time that nothing explains.
        public var calledWaits: Int
        public var inferredWaits: Int
        public var unexplained: Int64
    }

    /// Runs the trace as it is and as asked.
    ///
    /// - Throws: `usage` where a number is out of range, or a split is asked for of a trace that shows none.
    public func answer(_ trace: Trace) throws(FathomError) -> Answer {
        for (kernelClass, speedup) in speedups where !(speedup >= 0.001 && speedup <= 1e6) {
            throw FathomError(
                .usage, "\(kernelClass.rawValue) cannot be \(speedup) times faster; 0.001 to 1000000 are legal")
        }
        let before = Self.split(of: trace)
        if let split {
            guard let before else {
                throw FathomError(
                    .usage,
                    "the trace shows no split of multiprocessors: it names no device or has no transport kernels")
            }
            let all = before.compute + before.communication
            guard split.compute > 0, split.communication > 0, split.compute + split.communication <= all else {
                throw FathomError(
                    .usage,
                    "the split \(split.compute)/\(split.communication) is impossible; at least 1 each and "
                        + "\(all) together are legal, and the trace has \(before.compute)/\(before.communication)")
            }
        }
        let replay = Replay(trace)
        return Answer(
            before: replay.run { $0.duration }, after: replay.run { duration($0, before: before) },
            calledWaits: replay.waitCounts.called, inferredWaits: replay.waitCounts.inferred,
            unexplained: replay.unexplained)
    }
}
