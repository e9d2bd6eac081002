// SPDX-License-Identifier: MIT
#pragma once

#include <cereal/cereal.hpp>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <troupe/transport/codec_traits.hpp>
#include <troupe/transport/descriptor_store.hpp>
#include <troupe/transport/output_archive.hpp>
#include <type_traits>
#include <utility>

namespace troupe::detail {

/// Thrown by InputArchive, caught by `decode`. `reason` is a literal.
struct Malformed {
  const char* reason;
};

/// The same for a descriptor that the store does not give. Not `malformed` where the world was in the way.
struct NotWithdrawn {
  Error error;
};

/// Reads bytes that an enemy may have written: every size is checked before anything is allocated for it, and
/// what is no value of its type does not become one. Throws `Malformed` and `NotWithdrawn`. One use only; one
/// thread.
class InputArchive : cereal::access {
 public:
  using is_loading = std::true_type;
  using is_saving = std::false_type;

  /// `store` outlives this object. Without one, a value that holds descriptors is refused.
  explicit InputArchive(std::span<const std::byte> in, DescriptorStore* store = nullptr) noexcept
      : in_{in}, memory_bytes_left_{CodecLimits::memory_bytes_max(in.size())}, store_{store} {}
  InputArchive(const InputArchive&) = delete;
  InputArchive& operator=(const InputArchive&) = delete;

  template <class... Ts>
  InputArchive& operator()(Ts&&... values) {
    (take(values), ...);
    return *this;
  }
  template <class T>
  InputArchive& operator&(T&& value) {
    return (*this)(value);
  }
  template <class T>
  InputArchive& operator>>(T&& value) {
    return (*this)(value);
  }

  /// For the `load` of a type that holds descriptors: the next one that its `save` has deposited. It comes
  /// from another process: check what it is before it is used.
  [[nodiscard]] OwnedFd withdraw();

  [[nodiscard]] std::size_t bytes_left() const noexcept { return in_.size(); }

 private:
  template <class T>
  void take(T& value);
  template <class T>
  void take(cereal::NameValuePair<T>& pair) {
    take(pair.value);
  }
  template <class K, class V>
  void take(cereal::MapItem<K, V>& item) {
    take(item.key);
    take(item.value);
  }
  template <class T>
  void take(cereal::base_class<T>& base) {
    take(*base.base_ptr);
  }
  template <class T>
  void take(cereal::BinaryData<T>& data) {
    read(data.data, data.size);
  }
  template <class T>
  void take(cereal::SizeTag<T>& tag) {
    tag.size = static_cast<std::remove_reference_t<T>>(take_size());
  }
  template <class T>
  void take_class(T& value);
  template <class T>
  void take_keyed(T& value);

  std::size_t take_size() {
    std::uint64_t elements = 0;
    read(&elements, sizeof elements);
    const ElementCost cost = std::exchange(next_, {});
    if (elements > CodecLimits::elements_max) throw Malformed{"a container has too many elements"};
    if (elements * cost.wire_bytes > in_.size())
      throw Malformed{"a container has more elements than bytes follow"};
    if (elements * cost.memory_bytes > memory_bytes_left_)
      throw Malformed{"its containers take too much memory for so few bytes"};
    memory_bytes_left_ -= elements * cost.memory_bytes;
    return elements;
  }

  void read(void* data, std::size_t size) {
    if (size > in_.size()) throw Malformed{"the bytes end too early"};
    if (size != 0) std::memcpy(data, in_.data(), size);
    in_ = in_.subspan(size);
  }

  std::span<const std::byte> in_;
  std::size_t memory_bytes_left_;
  std::size_t depth_ = 0;
  ElementCost next_;
  DescriptorStore* store_;
};

}  // namespace troupe::detail

CEREAL_SETUP_ARCHIVE_TRAITS(troupe::detail::InputArchive, troupe::detail::OutputArchive)

/// As for OutputArchive.
template <class T>
struct cereal::traits::is_input_serializable<cereal::BinaryData<T>, troupe::detail::InputArchive>
    : std::bool_constant<troupe::detail::is_block<T>> {};

namespace troupe::detail {

template <class T>
void InputArchive::take(T& value) {
  if constexpr (is_block<T>) {
    read(&value, sizeof value);
  } else if constexpr (std::is_same_v<T, bool>) {
    std::uint8_t byte = 0;
    take(byte);
    if (byte > 1) throw Malformed{"a bool is neither 0 nor 1"};
    value = byte == 1;
  } else if constexpr (std::is_same_v<T, long double>) {
    value = 0;
    read(&value, long_double_bytes);
  } else if constexpr (FixedEnum<T>) {
    std::underlying_type_t<T> number{};
    take(number);
    value = static_cast<T>(number);
    if constexpr (HasIsValid<T>) {
      if (!is_valid(value)) throw Malformed{"an enum has a value for which is_valid is false"};
    }
  } else if constexpr (is_block_sequence<T>) {
    std::uint64_t elements = 0;
    take(elements);
    if (elements > in_.size() / sizeof(typename T::value_type))
      throw Malformed{"a container has more elements than bytes follow"};
    value.resize(elements);
    read(value.data(), elements * sizeof(typename T::value_type));
  } else if constexpr (std::is_array_v<T> || is_array<T>) {
    for (auto& element : value) take(element);
  } else if constexpr (is_bound_to_process<T> || (way_of<T> == Way::none && !has_fields<T>)) {
    require_serializable<T>();
  } else if constexpr (StandardType<T>) {
    if constexpr (Container<T>) next_ = find_element_cost<T>();
    if constexpr (Keyed<T>)
      take_keyed(value);
    else
      take_class(value);
  } else {
    if (++depth_ > CodecLimits::depth_max) throw Malformed{"structs are nested too deep"};
    take_class(value);
    --depth_;
  }
}

/// Whether `key` may be the next one behind those of `value`, as encode would have written them.
template <Ordered T>
bool comes_next(const T& value, const typename T::key_type& key) {
  if (value.empty()) return true;
  const auto& last = *value.rbegin();
  const auto less = value.key_comp();
  if constexpr (requires { typename T::mapped_type; })
    return is_multi<T> ? !less(key, last.first) : less(last.first, key);
  else
    return is_multi<T> ? !less(key, last) : less(last, key);
}

/// Instead of cereal's own, which drop a key that comes twice and take any order.
template <class T>
void InputArchive::take_keyed(T& value) {
  value.clear();
  std::size_t left = take_size();
  if constexpr (requires { value.reserve(left); }) value.reserve(left);
  for (; left > 0; --left) {
    const std::size_t before = value.size();
    typename T::key_type key{};
    take(key);
    if constexpr (Ordered<T>) {
      if (!comes_next(value, key)) throw Malformed{"keys are out of order or come twice"};
    }
    if constexpr (requires { typename T::mapped_type; }) {
      typename T::mapped_type mapped{};
      take(mapped);
      value.emplace_hint(value.end(), std::move(key), std::move(mapped));
    } else {
      value.emplace_hint(value.end(), std::move(key));
    }
    if (value.size() == before) throw Malformed{"a key comes twice"};
  }
}

template <class T>
void InputArchive::take_class(T& value) {
  constexpr Way way = way_of<T>;
  [[maybe_unused]] const auto version = [this] {
    std::uint32_t number = 0;
    take(number);
    return number;
  };
  // clang-format off
  if constexpr (way == Way::none) with_fields(value, [this](auto&... fields) { (this->take(fields), ...); });
  else if constexpr (way == Way::member_serialize) cereal::access::member_serialize(*this, value);
  else if constexpr (way == Way::free_serialize) serialize(*this, value);
  else if constexpr (way == Way::member_save_load) cereal::access::member_load(*this, value);
  else if constexpr (way == Way::free_save_load) load(*this, value);
  else if constexpr (way == Way::member_minimal) {
    typename cereal::traits::has_member_save_minimal<T, OutputArchive>::type number{};
    take(number);
    cereal::access::member_load_minimal(*this, value, number);
  }
  else if constexpr (way == Way::free_minimal) {
    typename cereal::traits::has_non_member_save_minimal<T, OutputArchive>::type number{};
    take(number);
    load_minimal(*this, value, number);
  }
  else if constexpr (way == Way::member_serialize_versioned) cereal::access::member_serialize(*this, value, version());
  else if constexpr (way == Way::free_serialize_versioned) serialize(*this, value, version());
  else if constexpr (way == Way::member_save_load_versioned) cereal::access::member_load(*this, value, version());
  else if constexpr (way == Way::free_save_load_versioned) load(*this, value, version());
  // clang-format on
}

}  // namespace troupe::detail
