// SPDX-License-Identifier: MIT

/// A low-latency transport on one stream: a kernel that sends, computation, and the same kernel again, which waits.
///
/// There is nothing to intersect; what counts is the computation between the two, and what is left to wait.
public struct SendWaitPair: Sendable, Encodable {
    public var kernel: String
    public var stream: String
    public var count: Int
    /// Sums over the pairs, in nanoseconds.
    public var sending: Int64
    public var computedBetween: Int64
    public var waiting: Int64

    /// Kernels named `…_ll` or of a low-latency namespace, two and two on each stream.
    static func pairs(_ trace: Trace) -> [SendWaitPair] {
        var result: [SendWaitPair] = []
        for stream in trace.streams.indices {
            let lane = trace.operations.filter { Int($0.stream) == stream }
            var open: [NameID: Int] = [:]
            var sums: [NameID: SendWaitPair] = [:]
            for (index, operation) in lane.enumerated() where operation.kernelClass.isCommunication {
                let text = trace.names[operation.name]
                let name = KernelName(text)
                guard name.leaf.hasSuffix("_ll") || name.scopes.contains(where: { $0.hasSuffix("_ll") }) else {
                    continue
                }
                guard let first = open.removeValue(forKey: operation.name) else {
                    open[operation.name] = index
                    continue
                }
                let between = lane[first + 1..<index].filter { !$0.kernelClass.isCommunication }
                var pair =
                    sums[operation.name]
                    ?? SendWaitPair(
                        kernel: name.short, stream: trace.streams[stream].title, count: 0, sending: 0,
                        computedBetween: 0, waiting: 0)
                pair.count += 1
                pair.sending += lane[first].duration
                pair.computedBetween += between.reduce(0) { $0 + $1.duration }
                pair.waiting += operation.duration
                sums[operation.name] = pair
            }
            result += sums.values.sorted { $0.kernel < $1.kernel }
        }
        return result
    }
}
