// SPDX-License-Identifier: MIT

/// Headers for device code that the kernels of all libraries share (`Device/`).
package enum DeviceHeaders {
    /// `layout.cuh`: where things lie, in plain constexpr functions that a host's compiler takes as well.
    package static let layout = header("layout.cuh", PackageResources.layout_cuh)

    /// `hopper.cuh`, which includes `layout.cuh`: barriers, bulk copies and the order of matrix instructions of compute
    /// capability 9.0.
    package static let hopper = header("hopper.cuh", PackageResources.hopper_cuh)

    /// Every header: what a kernel's source is given.
    package static let all: [KernelSource.Header] = [layout, hopper]

    private static func header(_ name: String, _ bytes: [UInt8]) -> KernelSource.Header {
        KernelSource.Header(name: name, text: String(decoding: bytes, as: UTF8.self))
    }
}
