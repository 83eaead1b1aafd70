library ieee;
use ieee.std_logic_1164.all;

entity gates is
    port (a, b, carry : in std_logic; sum, over : out std_logic);
end gates;

architecture behaviour of gates is
    signal half : std_logic;
    function majority(x, y, z : std_logic) return std_logic is
    begin
        if x = y then
            return x;
        end if;
        return z;
    end majority;
begin
    first : process (a, b)
    begin
        half <= a xor b;
    end process;
    second : process (half, carry, a, b)
    begin
        sum <= half xor carry;
        over <= majority(a, b, carry);
    end process;
end behaviour;
