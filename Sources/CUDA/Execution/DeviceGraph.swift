// SPDX-License-Identifier: MIT
// SAFETY: In this file a graph's handles are created once and destroyed once.

public import Platform

/// Work recorded from a stream, launched as one; destroyed when the value dies.
///
/// What the recorded work uses (memory, kernels) must outlive the graph's last run.
public struct DeviceGraph: ~Copyable, @unchecked Sendable {
    public let context: DeviceContext
    private let graph: OpaquePointer
    private let executable: OpaquePointer

    /// Records what `body` puts into `stream` instead of doing it. A failure inside ends the recording.
    public init(
        capturing stream: borrowing DeviceStream, _ body: () throws(FathomError) -> Void
    ) throws(FathomError) {
        let context = stream.context
        // Calls of other threads that would wait for the device stay legal.
        let threadLocal: Int32 = 1
        try context.enter()
        try context.driver.check(
            context.functions.beginCapture(stream.handle, threadLocal), "cuStreamBeginCapture(thread-local)")
        var graph: OpaquePointer?
        do throws(FathomError) {
            try body()
        } catch {
            _ = context.functions.endCapture(stream.handle, &graph)
            if let graph { _ = context.functions.destroyGraph(graph) }
            throw error
        }
        try context.enter()
        try context.driver.check(context.functions.endCapture(stream.handle, &graph), "cuStreamEndCapture()")
        guard let graph else { throw FathomError(.internal, "cuStreamEndCapture gave no graph") }
        var executable: OpaquePointer?
        let code = context.functions.instantiateGraph(&executable, graph, 0)
        guard code == CUDACode.success, let executable else {
            _ = context.functions.destroyGraph(graph)
            try context.driver.check(code, "cuGraphInstantiate()")
            throw FathomError(.internal, "cuGraphInstantiate gave no graph")
        }
        self.context = context
        self.graph = graph
        self.executable = executable
    }

    deinit {
        context.enterQuietly()
        _ = context.functions.destroyExecutableGraph(executable)
        _ = context.functions.destroyGraph(graph)
    }

    /// Puts all recorded work into `stream`.
    public func launch(on stream: borrowing DeviceStream) throws(FathomError) {
        try context.enter()
        try context.driver.check(context.functions.launchGraph(executable, stream.handle), "cuGraphLaunch()")
    }
}
